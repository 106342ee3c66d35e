-- schema: what calls cost, row by row; kept longer than the runs
create table spend (
    pos integer primary key,
    at integer not null,
    tenant text not null,
    workflow text not null,
    run_id text not null,
    activity text not null,
    place text not null,
    attempt integer not null,
    call_id text not null,
    kind text not null,
    provider text not null,
    model text not null,
    input_tokens integer not null,
    output_tokens integer not null,
    cache_read_tokens integer not null,
    cache_write_tokens integer not null,
    reasoning_tokens integer not null,
    cost integer not null,
    saved integer not null,
    price text not null,
    simulated integer not null,
    labels text not null,
    prompt text not null
);
create index spend_by_run on spend (run_id);
create index spend_by_time on spend (at);
