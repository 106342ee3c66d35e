-- append: a batch of appends, in one call
--
-- One statement is one transaction and one round trip. What is refused is never written, so nothing is taken back but a
-- run's own row, an answer, and a budget that nobody needed: no subtransactions, whatever is refused.
--
-- Lock order: new runs (by id), heads of runs that are there (by key), budgets (by id), answers (in the batch's order);
-- events, blobs, spend rows and tasks belong to a head that is locked by then. Who claims tasks waits for no lock. New runs
-- come first because an id that is taken waits for whoever is changing that run: he must not wait for a run of ours.
--
-- An item is *plain* when nothing else of the batch has to do with it and only its head decides: plain items are written
-- at once; there are `plain` of them on runs that are there. The others (`apart`) are judged one by one, in their order,
-- budgets in memory. `once`: a new run whose key, id and unique key no other item of the batch has.
--
-- What comes out is 0 accepted, 1 version_conflict, 2 run_exists, 3 repeated, 4 over budget; `over` has five numbers for each of
-- the latter: item, number of the budget, limit, spent, reserved.
create function append_batch(
    position_offset bigint, answers_kept bigint, forget_before bigint,
    items item_row[], plain bigint, starts start_row[], new_events event_row[], new_blobs blob_row[],
    budget_ids text[], moves move_row[], commands command_row[], new_spend spend_row[],
    lease bigint, offers offer_row[], ended ended_row[],
    out outcomes bigint[], out over bigint[]
) language plpgsql
    set search_path from current
as $$
#variable_conflict use_column
declare
    base bigint := (pg_current_xact_id()::text::bigint + position_offset) << 20;
    written bigint[];
    late bigint[] := '{}';
    one item_row;
    n bigint;
    m bigint := 1;
    c bigint := 1;
    move move_row;
    command command_row;
    first_command bigint;
    b bigint;
    verdict bigint;
    tried bigint[];
    tried_limit bigint[];
    tried_spent bigint[];
    tried_reserved bigint[];
    opening jsonb;
    s bigint := 0;
    limits bigint[];
    spents bigint[];
    reserveds bigint[];
    created text[];
    head record;
    moment bigint;
    to_put_down bigint[];
    cleared bigint[];
    cleared_runs text[];
begin
    outcomes := array_fill(0::bigint, array[cardinality(items)]);
    over := '{}';

    if forget_before is not null then
        delete from answers where (tenant, command_id) in (
            select tenant, command_id from answers where at < forget_before
            order by at limit 10000 for update skip locked
        );
    end if;

    if cardinality(starts) > 0 then
        for n in select item from unnest(starts) loop outcomes[n] := 2; end loop;
        with added as (
            insert into runs (key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels, money_limit,
                content_key, created_at, status, version, hash, attention_at, tasks, cost, reserved, updated_at,
                finished_at, error, simulated, approvals, hand_node, hand_place, hand_attempt, hand_queue)
            select key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels, money_limit,
                content_key, created_at, status, version, hash, attention_at, tasks, cost, reserved, updated_at,
                finished_at, error, simulated, approvals, hand_node, hand_place, hand_attempt, hand_queue
            from unnest(starts) where once order by id
            on conflict do nothing
            returning key
        )
        select coalesce(array_agg(item), '{}') into written from unnest(starts) join added using (key);
        foreach n in array written loop outcomes[n] := 0; end loop;
    end if;

    moment := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
    with there as (
        select key, item, puts_down, runs.id, runs.hand_node <> '' as has, wanted.hand_node is not null as wants
        from unnest(items) as wanted join runs on key = run order by key for no key update of runs
    )
    select coalesce(array_agg(key) filter (where puts_down and has), '{}'),
        coalesce(array_agg(item) filter (where wants and not puts_down and not has), '{}'),
        array_agg(id) filter (where wants and not puts_down and not has)
    into to_put_down, cleared, cleared_runs from there;
    if cardinality(to_put_down) > 0 then
        perform put_down(to_put_down, moment + lease);
    end if;

    with moved as (
        update runs set status = wanted.status, version = wanted.version, hash = wanted.hash,
            attention_at = wanted.attention_at, tasks = wanted.tasks, cost = wanted.cost, reserved = wanted.reserved,
            updated_at = wanted.updated_at, finished_at = wanted.finished_at, error = wanted.error,
            simulated = wanted.simulated, approvals = wanted.approvals,
            money_limit = coalesce(wanted.money_limit, runs.money_limit),
            hand_node = coalesce(wanted.hand_node, runs.hand_node),
            hand_place = coalesce(wanted.hand_place, runs.hand_place),
            hand_attempt = coalesce(wanted.hand_attempt, runs.hand_attempt),
            hand_queue = coalesce(wanted.hand_queue, runs.hand_queue)
        from unnest(items) as wanted
        where not wanted.is_new and not wanted.is_apart
            and runs.key = wanted.run and runs.version = wanted.expected
            -- A run that was erased (it has no key then) stays ended: who would go on with it has not heard of that.
            and (runs.content_key <> '' or wanted.finished_at is not null)
            -- A run that takes its unique key again is judged apart: another may hold it by now.
            and not (runs.unique_key <> '' and runs.status in ('failed', 'cancelled')
                and wanted.status not in ('failed', 'cancelled'))
        returning wanted.item
    )
    select coalesce(array_agg(item), '{}') into written from moved;

    if cardinality(written) < plain then
        for n in select item from unnest(items) where not is_new and not is_apart and not item = any (written) loop
            outcomes[n] := 1;
        end loop;
        select coalesce(array_agg(item), '{}') into late
        from unnest(items) join runs on runs.key = run and runs.version = expected
        where not is_new and not is_apart and not item = any (written);
    end if;

    if cardinality(budget_ids) > 0 then
        with added as (
            insert into budgets (id, money_limit, spent, reserved)
            select distinct budget_ids[budget] collate "C" as id, 0, 0, 0
            from unnest(moves) where money_limit is not null order by id
            on conflict do nothing
            returning id
        )
        select coalesce(array_agg(id), '{}') into created from added;
        perform from budgets where id = any (budget_ids) order by id for no key update;
        -- One that was made just now is not there before an append makes it.
        select array_agg(money_limit order by number), array_agg(coalesce(spent, 0) order by number),
            array_agg(coalesce(reserved, 0) order by number)
        into limits, spents, reserveds
        from unnest(budget_ids) with ordinality as wanted (id, number)
        left join budgets on budgets.id = wanted.id and not budgets.id = any (created);
    end if;

    for one in select * from unnest(items) where is_apart or item = any (late) order by item loop
        n := one.item;
        -- The head. An item of no run has none.
        if one.run = 0 then
            verdict := 0;
        elsif one.is_new then
            verdict := outcomes[n];
            if verdict = 2 then
                insert into runs (key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels,
                    money_limit, content_key, created_at, status, version, hash, attention_at, tasks, cost, reserved,
                    updated_at, finished_at, error, simulated, approvals, hand_node, hand_place, hand_attempt,
                    hand_queue)
                select key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels, money_limit,
                    content_key, created_at, status, version, hash, attention_at, tasks, cost, reserved, updated_at,
                    finished_at, error, simulated, approvals, hand_node, hand_place, hand_attempt, hand_queue
                from unnest(starts) where item = n and not once
                on conflict do nothing;
                if found then verdict := 0; end if;
            end if;
        else
            select version, status, tenant, unique_key, content_key into head from runs where key = one.run;
            if not found or head.version <> one.expected or head.content_key = '' and one.finished_at is null then
                verdict := 1;
            elsif head.unique_key <> '' and head.status in ('failed', 'cancelled')
                and one.status not in ('failed', 'cancelled')
                and exists (select from runs as holder where holder.tenant = head.tenant
                    and holder.unique_key = head.unique_key and holder.unique_key <> ''
                    and holder.status not in ('failed', 'cancelled')) then
                verdict := 2;
            else
                verdict := 0;
            end if;
        end if;

        -- Its budgets.
        while moves[m].item < n loop m := m + 1; end loop;
        tried := '{}';
        tried_limit := '{}';
        tried_spent := '{}';
        tried_reserved := '{}';
        while verdict = 0 and moves[m].item = n loop
            move := moves[m];
            b := move.budget;
            tried := tried || b;
            tried_limit := tried_limit || limits[b];
            tried_spent := tried_spent || spents[b];
            tried_reserved := tried_reserved || reserveds[b];
            if move.money_limit is not null and move.opening is not null then
                -- It begins with what the spend rows hold, those of the items before this one with them.
                insert into spend
                select filled.* from unnest(new_spend), json_populate_record(null::spend, row::json) as filled
                where item > s and item < n and outcomes[item] = 0;
                s := n - 1;
                opening := move.opening::jsonb;
                limits[b] := move.money_limit;
                spents[b] := (
                    select coalesce(sum(cost), 0) from spend
                    where tenant = opening ->> 'tenant' and at >= (opening ->> 'since')::bigint
                        and at < (opening ->> 'until')::bigint and simulated = (opening ->> 'simulated')::boolean
                        and (opening ->> 'workflow' = '' or workflow = opening ->> 'workflow')
                        and (opening ->> 'label' = '' or labels::jsonb ->> (opening ->> 'label') = opening ->> 'value')
                        and (opening ->> 'model' = '' or provider || '/' || model like opening ->> 'model')
                        and (opening ->> 'provider' = '' or provider like opening ->> 'provider')
                );
            elsif move.money_limit is not null and (move.sets or limits[b] is null) then
                limits[b] := move.money_limit;
            end if;
            if move.reserve > 0 and (limits[b] is null
                or not move.beyond and spents[b] + reserveds[b] + move.reserve + move.spend > limits[b]) then
                verdict := 4;
                over := over || array[n, b, coalesce(limits[b], 0), spents[b], reserveds[b]];
            else
                if limits[b] is not null then
                    spents[b] := spents[b] + move.spend;
                    reserveds[b] := reserveds[b] + move.reserve;
                end if;
                m := m + 1;
            end if;
        end loop;

        -- Its answers.
        while commands[c].item < n loop c := c + 1; end loop;
        first_command := c;
        while verdict = 0 and commands[c].item = n loop
            command := commands[c];
            insert into answers (tenant, command_id, at, answer)
            values (command.tenant, command.id, command.at, command.answer)
            on conflict (tenant, command_id) do update set at = excluded.at, answer = excluded.answer
            where answers.at < excluded.at - answers_kept;
            if found then c := c + 1; else verdict := 3; end if;
        end loop;

        outcomes[n] := verdict;
        if verdict = 0 and not one.is_new then
            update runs set status = one.status, version = one.version, hash = one.hash,
                attention_at = one.attention_at, tasks = one.tasks, cost = one.cost, reserved = one.reserved,
                updated_at = one.updated_at, finished_at = one.finished_at, error = one.error,
                simulated = one.simulated, approvals = one.approvals,
                money_limit = coalesce(one.money_limit, money_limit),
                hand_node = coalesce(one.hand_node, hand_node), hand_place = coalesce(one.hand_place, hand_place),
                hand_attempt = coalesce(one.hand_attempt, hand_attempt), hand_queue = coalesce(one.hand_queue, hand_queue)
            where key = one.run;
        elsif verdict in (3, 4) then
            while c > first_command loop
                c := c - 1;
                delete from answers where tenant = commands[c].tenant and command_id = commands[c].id;
            end loop;
            for t in reverse cardinality(tried) .. 1 loop
                b := tried[t];
                limits[b] := tried_limit[t];
                spents[b] := tried_spent[t];
                reserveds[b] := tried_reserved[t];
            end loop;
            if one.is_new then
                delete from runs where key = one.run;
            end if;
        end if;
    end loop;

    if cardinality(budget_ids) > 0 then
        update budgets set money_limit = changed.money_limit, spent = changed.spent, reserved = changed.reserved
        from unnest(budget_ids, limits, spents, reserveds) as changed (id, money_limit, spent, reserved)
        where budgets.id = changed.id and changed.money_limit is not null
            and (budgets.id = any (created) or (budgets.money_limit, budgets.spent, budgets.reserved)
                <> (changed.money_limit, changed.spent, changed.reserved));
        if cardinality(created) > 0 then
            delete from budgets using unnest(budget_ids, limits) as unmade (id, money_limit)
            where budgets.id = unmade.id and unmade.money_limit is null and budgets.id = any (created);
        end if;
    end if;

    -- An event's position is its transaction and its number therein. So is a task's place in its line.
    insert into events (pos, run, version, at, type, data, hash, content)
    select base + number, run, version, at, type, data, hash, content from unnest(new_events) where outcomes[item] = 0;

    if cardinality(new_blobs) > 0 then
        insert into blobs (run, digest, data) select run, digest, data from unnest(new_blobs) where outcomes[item] = 0
        on conflict do nothing;
    end if;
    if cardinality(new_spend) > 0 then
        insert into spend
        select filled.* from unnest(new_spend), json_populate_record(null::spend, row::json) as filled
        where item > s and outcomes[item] = 0;
    end if;
    -- A run that has one task in hand, or none, has no rows. Of the others: tasks that are over, then those that are due:
    -- an attempt is never both.
    if cardinality(cleared) > 0 then
        delete from queue using unnest(cleared, cleared_runs) as done (item, run)
        where outcomes[done.item] = 0 and queue.run_id = done.run;
    end if;
    if cardinality(ended) > 0 then
        delete from queue using unnest(ended) as done
        where outcomes[done.item] = 0
            and queue.run_id = done.run_id and queue.place = done.place and queue.attempt = done.attempt;
        delete from queue using unnest(ended) as done
        where outcomes[done.item] = 0 and done.place = '' and queue.run_id = done.run_id;
    end if;
    if cardinality(offers) > 0 then
        begin
            insert into queue (run_id, place, attempt, queue, tenant, version, node, holder, worker, number, offered_at,
                claimed_at, lease_until)
            select run_id, place, attempt, queue, tenant, version, node, case when held then node else '' end, '',
                base + number, moment, case when held then moment end, case when held then moment + lease end
            from unnest(offers) where outcomes[item] = 0;
        exception when unique_violation then
            -- A run that was resumed has some of its rows. To look for each first costs 2.5 µs of a task's 10.
            insert into queue (run_id, place, attempt, queue, tenant, version, node, holder, worker, number, offered_at,
                claimed_at, lease_until)
            select run_id, place, attempt, queue, tenant, version, node, case when held then node else '' end, '',
                base + number, moment, case when held then moment end, case when held then moment + lease end
            from unnest(offers) where outcomes[item] = 0
            on conflict do nothing;
        end;
    end if;
end
$$;
