-- rows: what an append takes; their arrays are sent as they are (`postgres_rows.py`)
create type item_row as (
    item bigint, run bigint, expected bigint, version bigint, tasks bigint, cost bigint, reserved bigint,
    updated_at bigint, attention_at bigint, finished_at bigint, money_limit bigint, approvals bigint,
    hand_attempt bigint, is_new boolean, is_apart boolean, puts_down boolean, simulated boolean,
    status text collate "C", hand_node text collate "C", hand_place text collate "C", hand_queue text collate "C",
    error text, hash bytea
);
create type start_row as (
    item bigint, key bigint, version bigint, tasks bigint, cost bigint, reserved bigint, created_at bigint,
    updated_at bigint, attention_at bigint, finished_at bigint, money_limit bigint, approvals bigint,
    hand_attempt bigint, once boolean, simulated boolean, id text collate "C", tenant text collate "C",
    workflow text collate "C", definition text, trace_id text, parent text collate "C", unique_key text collate "C",
    labels text, status text collate "C",
    hand_node text collate "C", hand_place text collate "C", hand_queue text collate "C", error text, content_key bytea,
    hash bytea
);
create type event_row as (
    item bigint, number bigint, run bigint, version bigint, at bigint, type text collate "C", data bytea, hash bytea,
    content bytea
);
create type blob_row as (item bigint, run bigint, digest bytea, data bytea);
create type move_row as (
    item bigint, budget bigint, reserve bigint, spend bigint, money_limit bigint, beyond boolean, sets boolean,
    opening text
);
create type command_row as (item bigint, at bigint, tenant text collate "C", id text collate "C", answer bytea);
create type spend_row as (item bigint, row text);
create type offer_row as (
    item bigint, number bigint, attempt bigint, version bigint, run_id text collate "C", place text collate "C",
    queue text collate "C", node text collate "C", tenant text collate "C", held boolean
);
create type ended_row as (item bigint, attempt bigint, run_id text collate "C", place text collate "C");
create domain item_rows as item_row[];
create domain start_rows as start_row[];
create domain event_rows as event_row[];
create domain blob_rows as blob_row[];
create domain move_rows as move_row[];
create domain command_rows as command_row[];
create domain spend_rows as spend_row[];
create domain offer_rows as offer_row[];
create domain ended_rows as ended_row[];

-- tables: everything a new database needs
create table definitions (
    tenant text collate "C" not null,
    version text collate "C" not null,
    name text collate "C" not null,
    body bytea not null,
    deployed_at bigint not null,
    number bigint generated always as identity,
    primary key (tenant, version)
);
create index definitions_by_name on definitions (tenant, name, deployed_at, number);
create sequence run_keys increment by 1000;
create table runs (
    key bigint primary key,
    id text collate "C" not null,
    tenant text collate "C" not null,
    workflow text collate "C" not null,
    definition text not null,
    trace_id text not null,
    parent text collate "C" not null,
    unique_key text collate "C" not null,
    labels text not null,
    money_limit bigint,
    content_key bytea not null,
    created_at bigint not null,
    status text collate "C" not null,
    version bigint not null,
    hash bytea not null,
    attention_at bigint,
    tasks bigint not null,
    cost bigint not null,
    reserved bigint not null,
    updated_at bigint not null,
    finished_at bigint,
    error text not null,
    simulated boolean not null,
    approvals bigint,
    hand_node text collate "C" not null default '',
    hand_place text collate "C",
    hand_attempt bigint,
    hand_queue text collate "C"
) with (fillfactor = 70, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);
create unique index runs_by_id on runs (id);
create unique index runs_by_unique_key on runs (tenant, unique_key)
    where unique_key <> '' and status not in ('failed', 'cancelled');
create index runs_unfinished on runs (key) where finished_at is null;
create index runs_by_attention on runs (attention_at) where attention_at is not null;
create index runs_with_approvals on runs (tenant, key)
    where finished_at is null and (approvals is null or approvals > 0);
create index runs_by_parent on runs (parent) where parent <> '';
create table events (
    pos bigint primary key,
    run bigint not null,
    version bigint not null,
    at bigint not null,
    type text collate "C" not null,
    data bytea not null,
    hash bytea not null,
    content bytea
);
alter table events alter column data set storage external, alter column content set storage external;
create unique index events_by_run on events (run, version);
create table blobs (run bigint not null, digest bytea not null, data bytea not null, primary key (run, digest));
alter table blobs alter column data set storage external;
create table budgets (
    id text collate "C" primary key, money_limit bigint not null, spent bigint not null, reserved bigint not null
) with (fillfactor = 50, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);
create table answers (
    tenant text collate "C" not null,
    command_id text collate "C" not null,
    at bigint not null,
    answer bytea not null,
    primary key (tenant, command_id)
) with (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);
create index answers_by_time on answers (at);
create table spend (
    version bigint not null,
    part bigint not null,
    at bigint not null,
    tenant text collate "C" not null,
    workflow text collate "C" not null,
    run_id text collate "C" not null,
    activity text collate "C" not null,
    place text collate "C" not null,
    attempt bigint not null,
    call_id text collate "C" not null,
    kind text collate "C" not null,
    provider text collate "C" not null,
    model text collate "C" not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cache_read_tokens bigint not null,
    cache_write_tokens bigint not null,
    reasoning_tokens bigint not null,
    estimated boolean not null,
    cost bigint not null,
    saved bigint not null,
    price text not null,
    simulated boolean not null,
    labels text not null,
    prompt text collate "C" not null,
    cache_write_1h_tokens bigint not null,
    audio_input_tokens bigint not null,
    audio_output_tokens bigint not null,
    cache_read_audio_tokens bigint not null,
    tier text collate "C" not null,
    estimated_input bigint not null,
    primary key (run_id, version, part)
);
create index spend_by_time on spend (at);
create table queue (
    run_id text collate "C" not null,
    place text collate "C" not null,
    attempt bigint not null,
    queue text collate "C" not null,
    tenant text collate "C" not null,
    version bigint not null,
    node text collate "C" not null,
    holder text collate "C" not null,
    worker text collate "C" not null,
    number bigint not null,
    offered_at bigint not null,
    claimed_at bigint,
    lease_length bigint,
    lease_until bigint,
    deadline bigint,
    primary key (run_id, place, attempt)
) with (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);
create index queue_free on queue (queue, node, number) where lease_until is null;
create index queue_free_for_all on queue (queue, number) where lease_until is null;
create index queue_free_of_tenant on queue (queue, tenant, number) where lease_until is null;
create index queue_by_lease on queue (lease_until) where lease_until is not null;
create index queue_by_deadline on queue (deadline) where deadline is not null;
create table nodes (node text collate "C" primary key, alive_until bigint not null);

-- triggers: events are written once; their contents may be erased, and within a deletion they may go
create function refuse_change() returns trigger language plpgsql set search_path from current as $$
begin
    if tg_op = 'DELETE' and exists (select from meta where name = 'retention') then
        return old;
    end if;
    raise exception 'events are append-only';
end
$$;
create trigger events_are_never_changed before update on events for each row
    when ((new.pos, new.run, new.version, new.at, new.type, new.data, new.hash)
        is distinct from (old.pos, old.run, old.version, old.at, old.type, old.data, old.hash)
        or new.content is not null)
    execute function refuse_change();
create trigger events_are_never_deleted before delete on events for each row execute function refuse_change();
create trigger events_are_never_emptied before truncate on events execute function refuse_change();
