-- schema: what has fallen out of the rings of streamed texts; made when first needed, gone with the process
create table streams (
    id integer primary key, run_id text not null, place text not null, epoch integer not null,
    offset integer not null, data blob not null
)

-- keep: blocks of texts; the rows of values follow
insert into streams (id, run_id, place, epoch, offset, data) values

-- find: a block
select data from streams where id = ?

-- drop: blocks that nobody wants any more
delete from streams where id in (select value from json_each(?))
