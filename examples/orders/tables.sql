create table if not exists products (sku text primary key, price numeric not null, stock integer not null check (stock >= 0));
create table if not exists orders (id text primary key, customer text not null, at timestamptz not null default now());
create table if not exists order_lines (
    order_id text not null references orders, sku text not null references products, units integer not null check (units > 0),
    amount numeric not null, primary key (order_id, sku)
);
insert into products values ('TC-3', 49.00, 10), ('DT-4', 24.00, 1), ('SR-2', 3.10, 100) on conflict (sku) do nothing;
