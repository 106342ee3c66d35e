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

-- swap: all cells to what is after, if each is what it was before; one statement, so it is atomic for all who share it
insert into limits (name, body)
select value ->> 'name', coalesce(value ->> 'after', '') from json_each(?1)
where not exists (
    select 1 from json_each(?1) as change left join limits on limits.name = change.value ->> 'name'
    where coalesce(limits.body, '') <> coalesce(change.value ->> 'before', '')
)
on conflict (name) do update set body = excluded.body

-- some: the cells of these names
select name, body from limits where name in (select value from json_each(?1)) and body <> ''

-- below: the cells whose names begin so
select name, body from limits where substr(name, 1, length(?1)) = ?1 and body <> '' order by name

-- any: whether there is a cell that holds something
select exists (select 1 from limits where body <> '')
