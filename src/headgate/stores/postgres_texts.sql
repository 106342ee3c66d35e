-- say: messages to the nodes that listen on these channels
select pg_notify(said.channel, said.message) from unnest($1::text[], $2::text[]) as said (channel, message)

-- still_there: whether the connection stands
select 1

-- make_secret: what only those who may read this table know of the channels' names
insert into meta (name, value) values ('texts_channel', $1) on conflict (name) do nothing

-- secret: the one that is there
select value from meta where name = 'texts_channel'
