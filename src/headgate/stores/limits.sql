-- schema: what is known of providers: rates and how much of them is used, circuits, pauses, who waits
create table limits (
    name text primary key,
    body text not null
) without rowid;

-- all: every cell
select name, body from limits order by name

-- write: cells as they are now, a null body for one that is empty; one statement, so all or none
insert into limits (name, body)
select value ->> 'name', coalesce(value ->> 'body', '') from json_each(?1) where true
on conflict (name) do update set body = excluded.body

-- sweep: cells that hold nothing
delete from limits where body = ''
