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

-- save: a schedule as it is now
insert into schedules (id, tenant, name, body, next_at, created_at) values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict (tenant, name) do update set body = excluded.body, next_at = excluded.next_at

-- all: every schedule, by name
select body from schedules order by tenant, name

-- due: schedules whose time has come, longest due first
select body from schedules where next_at <= ? order by next_at, name limit ?

-- next: when the next one is due
select min(next_at) from schedules

-- remove: a schedule that is wanted no more
delete from schedules where tenant = ? and name = ?
