-- schema: workflows that start by the clock (schema 2; documents since schema 4)
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
