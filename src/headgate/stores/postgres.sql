-- append: a whole batch; the outcome of each item
select outcomes, over from append_batch(
    position_offset => $1, answers_kept => $2, forget_before => $3, items => $4::item_rows, plain => $5,
    starts => $6::start_rows, new_events => $7::event_rows, new_blobs => $8::blob_rows, budget_ids => $9::text[],
    moves => $10::move_rows, commands => $11::command_rows, new_spend => $12::spend_rows, lease => $13,
    offers => $14::offer_rows, ended => $15::ended_rows)

-- row_types: the kinds of rows that an append takes, and the server's numbers for them
select typname, oid from pg_type where typnamespace = $1::text::regnamespace and typname = any ($2)

-- was_written: which of these events are in the log, as they were sent
select wanted.run, wanted.version from unnest($1::bigint[], $2::bigint[], $3::bytea[]) as wanted (run, version, hash)
join events on events.run = wanted.run and events.version = wanted.version and events.hash = wanted.hash

-- new_keys: the first numbers of some blocks of run numbers
select nextval('run_keys') from generate_series(1, $1)

-- answer: what a command of this id was answered
select answer from answers where tenant = $1 and command_id = $2

-- budget: a shared budget as it stands
select id, money_limit, spent, reserved from budgets where id = $1

-- run: a run by its id
select * from runs where id = $1

-- run_by_unique_key: the live or completed run that holds a unique key
select * from runs where tenant = $1 and unique_key = $2 and unique_key <> '' and status not in ('failed', 'cancelled')

-- runs: the newest runs, filtered
select * from runs
where ($1::text is null or status = $1) and ($2::text is null or workflow = $2)
    and ($3::bigint is null or created_at >= $3) and ($4::bigint is null or created_at < $4)
    and ($5::text = '' or strpos(id, $5) > 0 or strpos(unique_key, $5) > 0 or strpos(labels, $5) > 0
        or strpos(error, $5) > 0)
    and ($6::text is null or tenant = $6) and (not $7::boolean or finished_at is null)
    and key < $8
order by key desc limit $9 offset $10

-- count_runs: how many there are of them
select count(*) from runs
where ($1::text is null or status = $1) and ($2::text is null or workflow = $2)
    and ($3::bigint is null or created_at >= $3) and ($4::bigint is null or created_at < $4)
    and ($5::text = '' or strpos(id, $5) > 0 or strpos(unique_key, $5) > 0 or strpos(labels, $5) > 0
        or strpos(error, $5) > 0)
    and ($6::text is null or tenant = $6) and (not $7::boolean or finished_at is null)

-- unfinished: how many runs have not ended, by status
select status, count(*) from runs where finished_at is null group by status

-- stored_bytes: about how much the events and contents of a tenant's runs take
select coalesce((
    select sum(octet_length(data) + coalesce(octet_length(content), 0)) from events join runs on runs.key = events.run
    where tenant = $1
), 0) + coalesce((select sum(octet_length(data)) from blobs join runs on runs.key = blobs.run where tenant = $1), 0)

-- matching: run ids by prefix, of one tenant or of all
select id from runs where id >= $1 and id < $1 || chr(1114111) and ($3::text is null or tenant = $3)
order by id limit $2

-- busy: unfinished runs that hold tasks
select * from runs where finished_at is null and tasks > 0 and key > $1 order by key limit $2

-- with_approvals: a tenant's unfinished runs with open approvals, or of which that is not known, newest first
select * from runs
where tenant = $1 and finished_at is null and (approvals is null or approvals > 0) and key < $2
order by key desc limit $3

-- due: runs whose time has come, earliest first
select id from runs where attention_at is not null and attention_at <= $1 order by attention_at limit $2

-- left_alone: those of them that nobody has changed of late
select id from runs where attention_at is not null and attention_at <= $1 and updated_at <= $2
order by attention_at limit $3

-- next_attention: the next time that any run waits for
select min(attention_at) from runs where attention_at is not null and attention_at > $1

-- events: a run's events in order
select pos, run, version, at, type, data, hash, content from events where run = $1 and version > $2
order by version limit $3

-- feed: all runs' events, as far as no transaction can still write below them
select pos, run, version, at, type, data, hash, content from events
where pos > $1 and pos < (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + $3) << 20
order by pos limit $2

-- server_time: what time it is here
select (extract(epoch from clock_timestamp()) * 1000000)::bigint

-- feed_lag: events that are in the log and not in the feed yet, and for how long (microseconds) the first of them
select count(*), (extract(epoch from clock_timestamp()) * 1000000)::bigint - min(written.at) from (
    select at from events where pos >= (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + $1) << 20 limit $2
) as written

-- feed_end: the last of them
select coalesce(max(pos), 0) from events
where pos < (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + $1) << 20

-- contents: the contents of some events; a large one stands in blobs, under the digest that the event names
select version, data, content from events where run = $1 and version = any ($2::bigint[])

-- blobs: large contents
select digest, data from blobs where run = $1 and digest = any ($2::bytea[])

-- save_definition: keep a definition's body; deployed again, it becomes the newest of its name
insert into definitions (tenant, version, name, body, deployed_at) values ($1, $2, $3, $4, $5)
on conflict (tenant, version) do update set deployed_at = excluded.deployed_at
returning xmax::text = '0'

-- definition: a tenant's definition by version
select version, body from definitions where tenant = $1 and name = $2 and version = $3

-- definitions: the newest of each name of a tenant, by name
select name, version, deployed_at, body from definitions as one
where tenant = $1 and name > $2 and not exists (
    select from definitions as later where later.tenant = one.tenant and later.name = one.name
        and (later.deployed_at, later.number) > (one.deployed_at, one.number)
)
order by name limit $3

-- newest_definition: the newest of a name
select version, body from definitions where tenant = $1 and name = $2 order by deployed_at desc, number desc limit 1

-- forget_spend: all rows of a run, before they are made again
delete from spend where run_id = $1

-- insert_spend: rows as JSON, in the place of those that were forgotten
insert into spend
select filled.* from unnest($1::text[]) as new (row), json_populate_record(null::spend, row::json) as filled

-- lock_run: of two who replace a run's spend rows, one waits
select from runs where id = $1 for no key update

-- totals: what the wanted rows come to, by one of their properties, demo prices apart; dearest first
with recursive named (id) as (
    select unnest($6::text[]) collate "C"
    union select runs.id from runs join named on runs.parent = named.id and runs.parent <> ''
)
select case $1::text
        when 'activity' then activity
        when 'run' then run_id
        when 'workflow' then workflow
        when 'model' then case when model = '' then provider else provider || '/' || model end
        when 'provider' then provider
        when 'day' then to_char(to_timestamp(at / 1000000) at time zone 'UTC', 'YYYY-MM-DD')
        when 'prompt' then prompt
        when 'kind' then kind
        when 'tier' then tier
        else coalesce(labels::jsonb ->> substr($1, 7), '')
    end collate "C" as name, simulated, count(*) filter (where kind = 'call'), count(*) filter (where kind = 'cached'),
    sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(reasoning_tokens),
    sum(cost), sum(saved), sum(cache_write_1h_tokens), sum(audio_input_tokens), sum(audio_output_tokens),
    sum(cache_read_audio_tokens), count(*) filter (where estimated)
from spend
where ($6 = '{}' or run_id in (select id from named))
    and ($2::bigint is null or at >= $2) and ($3::bigint is null or at < $3) and ($4::text = '' or workflow = $4)
    and ($5::text = '{}' or labels::jsonb @> $5::jsonb)
    and ($7::text = '' or tenant = $7)
group by 1, 2 order by 10 desc, 1, 2

-- estimates: of the newest rows, what inputs were estimated at and what they came to
select provider, model, estimated_input, input_tokens
from (select * from spend order by at desc, version desc, part desc limit $1) as newest
where estimated_input > 0 and not estimated
order by at desc, version desc, part desc

-- spend: the rows of a run, in the order of its events
select * from spend where run_id = $1 order by version, part

-- settings: how durable a commit of this server is
select name, setting from pg_settings
where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'server_version')

-- lock_schema: one node at a time changes the schema; the others wait and find it done
select pg_advisory_xact_lock(hashtextextended($1, 1213227367))

-- has_meta: whether this schema is ours; asked of the catalogue, for names are looked up in a cache that may be old
select exists (
    select from pg_class join pg_namespace on pg_namespace.oid = relnamespace where nspname = $1 and relname = 'meta'
)

-- has_schema: whether the namespace is there
select exists (select from pg_namespace where nspname = $1)

-- stranger: a table that is here already
select relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = $1 and relkind in ('r', 'p', 'v') limit 1

-- make_meta: what the log knows of itself
create table meta (name text primary key, value bigint not null)

-- standing: the schema's number, what is added to transaction ids, and whether positions have to be raised
select (select value from meta where name = 'schema') as schema,
    (select value from meta where name = 'position_offset') as position_offset,
    coalesce((select max(pos) from events), 0) >> 20 as last_transaction,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next_transaction

-- set_meta: what the log knows of itself
insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value

-- versions: how far some runs have come
select id, version from runs where id = any ($1)

-- claim_tasks: free tasks into a node's hands
select run_id, place, attempt, queue, tenant, version from claim_tasks($1, $2, $3, $4, $5, $6, $7)

-- add_task: a row that got lost
insert into queue (run_id, place, attempt, queue, version, node, tenant, holder, worker, number, offered_at)
select $1, $2, $3, $4, $5, $6, $7, '', '', (pg_current_xact_id()::text::bigint + value) << 20,
    (extract(epoch from clock_timestamp()) * 1000000)::bigint
from meta where name = 'position_offset'
on conflict do nothing

-- stay_alive: what this node holds is its own for so many microseconds more
insert into nodes (node, alive_until)
values ($1, (extract(epoch from clock_timestamp()) * 1000000)::bigint + $2)
on conflict (node) do update set alive_until = excluded.alive_until

-- put_down: what these runs have in hand as rows, with leases of so many microseconds
select put_down(
    array(select key from runs where id = any ($1::text[]) and hand_node <> ''),
    (extract(epoch from clock_timestamp()) * 1000000)::bigint + $2
)

-- put_down_of_dead: what the runs have in hand of nodes that have not been heard of, as rows whose leases are over; who
-- asks is alive
with dead as (
    delete from nodes where alive_until <= (extract(epoch from clock_timestamp()) * 1000000)::bigint and node <> $1
    returning node
), left_behind as (
    select key from runs join dead on hand_node = node where finished_at is null
)
select put_down(array_agg(key), (extract(epoch from clock_timestamp()) * 1000000)::bigint) from left_behind

-- renew_tasks: which tasks are in their node's hands; their leases are prolonged, unless somebody is at work on the row
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) with ordinality
        as wanted (run_id, place, attempt, holder, item)
), mine as (
    select item, run_id, place, attempt from wanted join queue using (run_id, place, attempt, holder)
    where lease_until > (extract(epoch from clock_timestamp()) * 1000000)::bigint
), free_to_change as (
    select run_id, place, attempt from queue join mine using (run_id, place, attempt)
    order by run_id, place, attempt for update of queue skip locked
), renewed as (
    update queue set lease_until = (extract(epoch from clock_timestamp()) * 1000000)::bigint + coalesce(lease_length, $5)
    from free_to_change as one
    where queue.run_id = one.run_id and queue.place = one.place and queue.attempt = one.attempt
)
select item from mine

-- held_tasks: which tasks are in the node's hands
select item from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as wanted (run_id, place, attempt, item)
    join queue using (run_id, place, attempt)
where holder = $4
union all
select item from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as wanted (run_id, place, attempt, item)
    join runs on id = run_id and hand_place = place and hand_attempt = attempt
where hand_node = $4

-- set_leases: how long leases are in microseconds, from now on and from each renewal
update queue set lease_length = wanted.lease,
    lease_until = (extract(epoch from clock_timestamp()) * 1000000)::bigint + wanted.lease
from unnest($1::text[], $2::text[], $3::bigint[], $5::bigint[]) as wanted (run_id, place, attempt, lease)
where queue.run_id = wanted.run_id and queue.place = wanted.place and queue.attempt = wanted.attempt
    and holder = $4

-- set_deadlines: until when claims may last, in microseconds from now; null: for ever
update queue set deadline = (extract(epoch from clock_timestamp()) * 1000000)::bigint + wanted.left_over
from unnest($1::text[], $2::text[], $3::bigint[], $5::bigint[]) as wanted (run_id, place, attempt, left_over)
where queue.run_id = wanted.run_id and queue.place = wanted.place and queue.attempt = wanted.attempt
    and holder = $4

-- release_tasks: what a node holds is free again
update queue set holder = '', worker = '', node = '', lease_length = null, lease_until = null, claimed_at = null,
    deadline = null
from unnest($1::text[], $2::text[], $3::bigint[]) as wanted (run_id, place, attempt)
where queue.run_id = wanted.run_id and queue.place = wanted.place and queue.attempt = wanted.attempt
    and holder = $4

-- remove_tasks: what a node holds is no task any more
delete from queue using unnest($1::text[], $2::text[], $3::bigint[]) as wanted (run_id, place, attempt)
where queue.run_id = wanted.run_id and queue.place = wanted.place and queue.attempt = wanted.attempt
    and holder = $4

-- claims_of_run: what is in somebody's hands
select queue, run_id, place, attempt, tenant, holder, worker, claimed_at, lease_until, coalesce(deadline, lease_until)
from queue where run_id = $1 and lease_until is not null
union all
select hand_queue, id, hand_place, hand_attempt, tenant, hand_node, '', updated_at, coalesce(alive_until, updated_at),
    coalesce(alive_until, updated_at)
from runs left join nodes on node = hand_node where id = $1 and hand_node <> ''

-- overdue_tasks: claims that have outlived their lease or their deadline, into another node's hands
with moment as (
    select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now
), over as (
    select run_id, place, attempt, worker, claimed_at, lease_until > now as deadline_passed
    from queue, moment where lease_until <= now or deadline <= now
    limit $2 for update of queue skip locked
), taken as (
    update queue set holder = $1, worker = '', deadline = null, lease_length = null, lease_until = now + $3
    from over, moment
    where queue.run_id = over.run_id and queue.place = over.place and queue.attempt = over.attempt
    returning queue.queue, queue.run_id, queue.place, queue.attempt, queue.tenant, over.worker, over.claimed_at,
        now - over.claimed_at, over.deadline_passed
)
select * from taken

-- missing_tasks: runs with more tasks than rows; one in hand is enough, while its node is known
select id from runs
where finished_at is null and tasks > 0 and status not in ('paused', 'cancelling') and updated_at < $1
    and case when hand_node = '' then tasks > (select count(*) from queue where queue.run_id = runs.id)
        else not exists (select from nodes where node = hand_node) end
order by key limit $2

-- queue_lengths: how many tasks of each queue are free, and how many in a node's hands
select queue, count(*) filter (where holder = ''), count(*) filter (where holder <> '')
from (
    select queue, holder from queue
    union all select hand_queue, hand_node from runs where finished_at is null and hand_node <> ''
) as tasks
group by queue order by queue

-- tell: a hint for the other nodes
select pg_notify($1, $2)
