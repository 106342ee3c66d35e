-- put_down: the tasks that some runs have in hand as rows, whose leases last until then
--
-- A run's only task, if it was born in a node's hands, is in the run's own row (`append_batch`): there it costs nothing.
-- Whoever wants more of it than its end puts it down first. The caller has locked the runs, or lets this do it.
create function put_down(keys bigint[], until bigint) returns void
language sql
    set search_path from current
as $$
    with held as (
        select key, hand_node from runs where key = any (keys) and hand_node <> '' order by key for no key update
    ), put as (
        update runs set hand_node = '' from held where runs.key = held.key
        returning id, tenant, version, updated_at, hand_place, hand_attempt, hand_queue, held.hand_node as holder
    )
    insert into queue (run_id, place, attempt, queue, tenant, version, node, holder, worker, number, offered_at,
        claimed_at, lease_until)
    select id, hand_place, hand_attempt, hand_queue, tenant, version, holder, holder, '', 0, updated_at, updated_at, until
    from put
    on conflict do nothing
$$;

-- claim: free tasks into a node's hands, its own first
--
-- Its own are those that it has decided: it has their runs in memory. Those of others it takes when they have been free
-- for `spare` microseconds, so that nodes that are all busy do not take each other's runs apart; those that name no node
-- at once. `of_tenant` given: those of that tenant alone. Whatever row is locked is passed over: nobody waits here, so
-- nothing deadlocks.
create function claim_tasks(
    queues text[], claimant text, worker_id text, wanted bigint, lease bigint, spare bigint, of_tenant text
) returns setof queue
language plpgsql
    set search_path from current
as $$
#variable_conflict use_column
declare
    moment bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
    line text;
    lacking bigint := wanted;
    taken bigint;
begin
    foreach line in array queues loop
        exit when lacking <= 0;
        return query
        with free as (
            select run_id, place, attempt from queue
            where queue = line and node = claimant and lease_until is null
                and (of_tenant is null or tenant = of_tenant)
            order by number limit lacking for update skip locked
        )
        update queue set holder = claimant, worker = worker_id, claimed_at = moment, lease_until = moment + lease
        from free
        where queue.run_id = free.run_id and queue.place = free.place and queue.attempt = free.attempt
        returning queue.*;
        get diagnostics taken = row_count;
        lacking := lacking - taken;
    end loop;
    foreach line in array queues loop
        exit when lacking <= 0;
        return query
        with free as (
            select run_id, place, attempt from queue
            where queue = line and lease_until is null and (node = '' or offered_at < moment - spare)
                and (of_tenant is null or tenant = of_tenant)
            order by number limit lacking for update skip locked
        )
        update queue set holder = claimant, worker = worker_id, claimed_at = moment, lease_until = moment + lease
        from free
        where queue.run_id = free.run_id and queue.place = free.place and queue.attempt = free.attempt
        returning queue.*;
        get diagnostics taken = row_count;
        lacking := lacking - taken;
    end loop;
end
$$;
