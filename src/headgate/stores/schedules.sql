-- schema: workflows that start by the clock
create table schedules (
    id text primary key,
    tenant text not null,
    name text not null,
    body blob not null,
    next_at integer,
    created_at integer not null
);
create unique index schedules_by_name on schedules (tenant, name);
create index schedules_due on schedules (next_at) where next_at is not null;
