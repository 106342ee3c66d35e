-- say: messages to the nodes that listen on these channels
select pg_notify(said.channel, said.message) from unnest($1::text[], $2::text[]) as said (channel, message)

-- still_there: whether the connection stands
select 1
