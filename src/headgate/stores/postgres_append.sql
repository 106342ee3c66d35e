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
-- at once. The others (`apart`) are judged one by one, in their order, budgets in memory. `once`: a new run whose key, id
-- and unique key no other item of the batch has.
--
-- What comes out is 0 accepted, 1 version_conflict, 2 run_exists, 3 repeated, 4 over budget; `over` has five numbers for each of
-- the latter: item, number of the budget, limit, spent, reserved.
create function append_batch(
    position_offset bigint, answers_kept bigint, forget_before bigint,
    i_run bigint[], i_expected bigint[], i_new boolean[], i_apart boolean[], i_limit bigint[],
    h_status text[], h_version bigint[], h_hash bytea[], h_attention_at bigint[], h_tasks bigint[], h_cost bigint[],
    h_reserved bigint[], h_updated_at bigint[], h_finished_at bigint[], h_error text[], h_simulated boolean[],
    n_item bigint[], n_once boolean[], n_id text[], n_tenant text[], n_workflow text[], n_definition text[],
    n_trace_id text[], n_parent text[], n_unique_key text[], n_labels text[], n_money_limit bigint[],
    n_content_key bytea[], n_created_at bigint[],
    e_item bigint[], e_version bigint[], e_at bigint[], e_type text[], e_data bytea[], e_hash bytea[], e_content bytea[],
    b_item bigint[], b_digest bytea[], b_data bytea[],
    budget_ids text[], m_item bigint[], m_budget bigint[], m_reserve bigint[], m_spend bigint[], m_limit bigint[],
    m_beyond boolean[], m_sets boolean[], m_opening text[],
    c_item bigint[], c_tenant text[], c_id text[], c_at bigint[], c_answer bytea[],
    s_item bigint[], s_row text[],
    lease bigint, q_item bigint[], q_run_id text[], q_place text[], q_attempt bigint[], q_queue text[],
    q_version bigint[], q_node text[], q_held boolean[], q_tenant text[],
    f_item bigint[], f_run_id text[], f_place text[], f_attempt bigint[],
    out outcomes bigint[], out over bigint[]
) language plpgsql
    set search_path from current
as $$
#variable_conflict use_column
declare
    base bigint := (pg_current_xact_id()::text::bigint + position_offset) << 20;
    written bigint[];
    apart bigint[];
    n bigint;
    m bigint := 1;
    c bigint := 1;
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
begin
    outcomes := array_fill(1::bigint, array[cardinality(i_run)]);
    over := '{}';

    if forget_before is not null then
        delete from answers where (tenant, command_id) in (
            select tenant, command_id from answers where at < forget_before
            order by at limit 10000 for update skip locked
        );
    end if;

    if cardinality(n_item) > 0 then
        foreach n in array n_item loop outcomes[n] := 2; end loop;
        with added as (
            insert into runs (key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels, money_limit,
                content_key, created_at, status, version, hash, attention_at, tasks, cost, reserved, updated_at,
                finished_at, error, simulated)
            select i_run[item], id, tenant, workflow, definition, trace_id, parent, unique_key, labels,
                coalesce(i_limit[item], money_limit),
                content_key, created_at, h_status[item], h_version[item], h_hash[item], h_attention_at[item],
                h_tasks[item], h_cost[item], h_reserved[item], h_updated_at[item], h_finished_at[item], h_error[item],
                h_simulated[item]
            from unnest(n_item, n_once, n_id, n_tenant, n_workflow, n_definition, n_trace_id, n_parent, n_unique_key,
                n_labels, n_money_limit, n_content_key, n_created_at) as new (item, once, id, tenant, workflow,
                definition, trace_id, parent, unique_key, labels, money_limit, content_key, created_at)
            where once order by id collate "C"
            on conflict do nothing
            returning key
        )
        select coalesce(array_agg(item), '{}') into written
        from unnest(i_run, i_new) with ordinality as items (run, is_new, item) join added on added.key = items.run
        where is_new;
        foreach n in array written loop outcomes[n] := 0; end loop;
    end if;

    perform from runs where key = any (i_run) order by key for no key update;

    with wanted as (
        select * from unnest(i_run, i_expected, i_new, i_apart, i_limit, h_status, h_version, h_hash, h_attention_at, h_tasks,
            h_cost, h_reserved, h_updated_at, h_finished_at, h_error, h_simulated) with ordinality as wanted (run,
            expected, is_new, is_apart, money_limit, status, version, hash, attention_at, tasks, cost, reserved, updated_at,
            finished_at, error, simulated, item)
        where not is_new and not is_apart
    ), moved as (
        update runs set status = wanted.status, version = wanted.version, hash = wanted.hash,
            attention_at = wanted.attention_at, tasks = wanted.tasks, cost = wanted.cost, reserved = wanted.reserved,
            updated_at = wanted.updated_at, finished_at = wanted.finished_at, error = wanted.error,
            simulated = wanted.simulated, money_limit = coalesce(wanted.money_limit, runs.money_limit)
        from wanted
        where runs.key = wanted.run and runs.version = wanted.expected
            -- A run that takes its unique key again is judged apart: another may hold it by now.
            and not (runs.unique_key <> '' and runs.status in ('failed', 'cancelled')
                and wanted.status not in ('failed', 'cancelled'))
        returning wanted.item
    )
    select coalesce(array_agg(item), '{}') into written from moved;
    foreach n in array written loop outcomes[n] := 0; end loop;

    apart := '{}';
    if cardinality(written) < cardinality(i_run) then
        select coalesce(array_agg(item order by item), '{}') into apart from (
            select item from unnest(i_apart) with ordinality as items (is_apart, item) where is_apart
            union all
            select item from unnest(i_run, i_expected, i_new, i_apart) with ordinality
                as items (run, expected, is_new, is_apart, item)
            join runs on runs.key = items.run and runs.version = items.expected
            where not is_new and not is_apart and not item = any (written)
        ) as judged;
    end if;

    if cardinality(budget_ids) > 0 then
        with added as (
            insert into budgets (id, money_limit, spent, reserved)
            select distinct budget_ids[budget] collate "C" as id, 0, 0, 0
            from unnest(m_budget, m_limit) as moves (budget, money_limit) where money_limit is not null order by id
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

    foreach n in array apart loop
        -- The head. An item of no run has none.
        if i_run[n] = 0 then
            verdict := 0;
        elsif i_new[n] then
            verdict := outcomes[n];
            if verdict = 2 then
                insert into runs (key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels,
                    money_limit, content_key, created_at, status, version, hash, attention_at, tasks, cost, reserved,
                    updated_at, finished_at, error, simulated)
                select i_run[n], id, tenant, workflow, definition, trace_id, parent, unique_key, labels,
                    coalesce(i_limit[n], money_limit),
                    content_key, created_at, h_status[n], h_version[n], h_hash[n], h_attention_at[n], h_tasks[n],
                    h_cost[n], h_reserved[n], h_updated_at[n], h_finished_at[n], h_error[n], h_simulated[n]
                from unnest(n_item, n_once, n_id, n_tenant, n_workflow, n_definition, n_trace_id, n_parent,
                    n_unique_key, n_labels, n_money_limit, n_content_key, n_created_at) as new (item, once, id, tenant,
                    workflow, definition, trace_id, parent, unique_key, labels, money_limit, content_key, created_at)
                where item = n and not once
                on conflict do nothing;
                if found then verdict := 0; end if;
            end if;
        else
            select version, status, tenant, unique_key into head from runs where key = i_run[n];
            if not found or head.version <> i_expected[n] then
                verdict := 1;
            elsif head.unique_key <> '' and head.status in ('failed', 'cancelled')
                and h_status[n] not in ('failed', 'cancelled')
                and exists (select from runs as holder where holder.tenant = head.tenant
                    and holder.unique_key = head.unique_key and holder.unique_key <> ''
                    and holder.status not in ('failed', 'cancelled')) then
                verdict := 2;
            else
                verdict := 0;
            end if;
        end if;

        -- Its budgets.
        while m_item[m] < n loop m := m + 1; end loop;
        tried := '{}';
        tried_limit := '{}';
        tried_spent := '{}';
        tried_reserved := '{}';
        while verdict = 0 and m_item[m] = n loop
            b := m_budget[m];
            tried := tried || b;
            tried_limit := tried_limit || limits[b];
            tried_spent := tried_spent || spents[b];
            tried_reserved := tried_reserved || reserveds[b];
            if m_limit[m] is not null and m_opening[m] is not null then
                -- It begins with what the spend rows hold, those of the items before this one with them.
                insert into spend
                select filled.* from unnest(s_item, s_row) as new (item, row),
                    json_populate_record(null::spend, row::json) as filled
                where item > s and item < n and outcomes[item] = 0;
                s := n - 1;
                opening := m_opening[m]::jsonb;
                limits[b] := m_limit[m];
                spents[b] := (
                    select coalesce(sum(cost), 0) from spend
                    where tenant = opening ->> 'tenant' and at >= (opening ->> 'since')::bigint
                        and at < (opening ->> 'until')::bigint and simulated = (opening ->> 'simulated')::boolean
                        and (opening ->> 'workflow' = '' or workflow = opening ->> 'workflow')
                        and (opening ->> 'label' = '' or labels::jsonb ->> (opening ->> 'label') = opening ->> 'value')
                        and (opening ->> 'model' = '' or provider || '/' || model like opening ->> 'model')
                        and (opening ->> 'provider' = '' or provider like opening ->> 'provider')
                );
            elsif m_limit[m] is not null and (m_sets[m] or limits[b] is null) then
                limits[b] := m_limit[m];
            end if;
            if m_reserve[m] > 0 and (limits[b] is null
                or not m_beyond[m] and spents[b] + reserveds[b] + m_reserve[m] + m_spend[m] > limits[b]) then
                verdict := 4;
                over := over || array[n, b, coalesce(limits[b], 0), spents[b], reserveds[b]];
            else
                if limits[b] is not null then
                    spents[b] := spents[b] + m_spend[m];
                    reserveds[b] := reserveds[b] + m_reserve[m];
                end if;
                m := m + 1;
            end if;
        end loop;

        -- Its answers.
        while c_item[c] < n loop c := c + 1; end loop;
        first_command := c;
        while verdict = 0 and c_item[c] = n loop
            insert into answers (tenant, command_id, at, answer) values (c_tenant[c], c_id[c], c_at[c], c_answer[c])
            on conflict (tenant, command_id) do update set at = excluded.at, answer = excluded.answer
            where answers.at < excluded.at - answers_kept;
            if found then c := c + 1; else verdict := 3; end if;
        end loop;

        outcomes[n] := verdict;
        if verdict = 0 and not i_new[n] then
            update runs set status = h_status[n], version = h_version[n], hash = h_hash[n],
                attention_at = h_attention_at[n], tasks = h_tasks[n], cost = h_cost[n], reserved = h_reserved[n],
                updated_at = h_updated_at[n], finished_at = h_finished_at[n], error = h_error[n],
                simulated = h_simulated[n], money_limit = coalesce(i_limit[n], money_limit)
            where key = i_run[n];
        elsif verdict in (3, 4) then
            while c > first_command loop
                c := c - 1;
                delete from answers where tenant = c_tenant[c] and command_id = c_id[c];
            end loop;
            for t in reverse cardinality(tried) .. 1 loop
                b := tried[t];
                limits[b] := tried_limit[t];
                spents[b] := tried_spent[t];
                reserveds[b] := tried_reserved[t];
            end loop;
            if i_new[n] then
                delete from runs where key = i_run[n];
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

    -- An event's position is its transaction and its number therein.
    insert into events (pos, run, version, at, type, data, hash, content)
    select base + number, i_run[item], version, at, type, data, hash, content
    from unnest(e_item, e_version, e_at, e_type, e_data, e_hash, e_content) with ordinality
        as new (item, version, at, type, data, hash, content, number)
    where outcomes[item] = 0;

    if cardinality(b_item) > 0 then
        insert into blobs (run, digest, data)
        select i_run[item], digest, data from unnest(b_item, b_digest, b_data) as new (item, digest, data)
        where outcomes[item] = 0
        on conflict do nothing;
    end if;
    if cardinality(s_item) > 0 then
        insert into spend
        select filled.* from unnest(s_item, s_row) as new (item, row), json_populate_record(null::spend, row::json) as filled
        where item > s and outcomes[item] = 0;
    end if;
    -- Tasks that are over, then those that are due: an attempt is never both.
    if cardinality(f_item) > 0 then
        delete from queue using unnest(f_item, f_run_id, f_place, f_attempt) as done (item, run_id, place, attempt)
        where outcomes[item] = 0
            and queue.run_id = done.run_id and queue.place = done.place and queue.attempt = done.attempt;
        if '' = any (f_place) then
            delete from queue using unnest(f_item, f_run_id, f_place) as done (item, run_id, place)
            where outcomes[item] = 0 and done.place = '' and queue.run_id = done.run_id;
        end if;
    end if;
    if cardinality(q_item) > 0 then
        moment := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
        begin
            insert into queue (run_id, place, attempt, queue, tenant, version, node, holder, worker, offered_at,
                claimed_at, lease_until)
            select run_id, place, attempt, queue, tenant, version, node, case when held then node else '' end, '', moment,
                case when held then moment end, case when held then moment + lease end
            from unnest(q_item, q_run_id, q_place, q_attempt, q_queue, q_version, q_node, q_held, q_tenant)
                as new (item, run_id, place, attempt, queue, version, node, held, tenant)
            where outcomes[item] = 0;
        exception when unique_violation then
            -- A run that was resumed has some of its rows. To look for each first costs 2.5 µs of a task's 10.
            insert into queue (run_id, place, attempt, queue, tenant, version, node, holder, worker, offered_at,
                claimed_at, lease_until)
            select run_id, place, attempt, queue, tenant, version, node, case when held then node else '' end, '', moment,
                case when held then moment end, case when held then moment + lease end
            from unnest(q_item, q_run_id, q_place, q_attempt, q_queue, q_version, q_node, q_held, q_tenant)
                as new (item, run_id, place, attempt, queue, version, node, held, tenant)
            where outcomes[item] = 0
            on conflict do nothing;
        end;
    end if;
end
$$;
