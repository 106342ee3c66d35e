-- schema: what calls cost, row by row; kept longer than the runs (schema 2; `more_buckets` adds to it)
create table spend (
    pos integer primary key,
    version integer not null,
    part integer not null,
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
    estimated integer not null,
    cost integer not null,
    saved integer not null,
    price text not null,
    simulated integer not null,
    labels text not null,
    prompt text not null
);
create unique index spend_by_run on spend (run_id, version, part);
create index spend_by_time on spend (at);

-- more_buckets: the columns that came with schema 3
alter table spend add column cache_write_1h_tokens integer not null default 0;
alter table spend add column audio_input_tokens integer not null default 0;
alter table spend add column audio_output_tokens integer not null default 0;
alter table spend add column cache_read_audio_tokens integer not null default 0;
alter table spend add column tier text not null default '';
alter table spend add column estimated_input integer not null default 0;

-- before_schema_3: what readers of a file of schema 2, who must not change it, see in the place of the table
create temp view spend as
select *, 0 as cache_write_1h_tokens, 0 as audio_input_tokens, 0 as audio_output_tokens, 0 as cache_read_audio_tokens,
    '' as tier, 0 as estimated_input
from main.spend

-- insert_spend: one row, in the transaction of its event
insert into spend (version, part, at, tenant, workflow, run_id, activity, place, attempt, call_id, kind, provider,
    model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, estimated, cost, saved,
    price, simulated, labels, prompt, cache_write_1h_tokens, audio_input_tokens, audio_output_tokens,
    cache_read_audio_tokens, tier, estimated_input)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- forget_spend: all rows of a run, before they are made again
delete from spend where run_id = ?

-- spend: the rows of a run, in the order of its events
select version, part, at, tenant, workflow, run_id, activity, place, attempt, call_id, kind, provider, model,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, estimated, cost, saved, price,
    simulated, labels, prompt, cache_write_1h_tokens, audio_input_tokens, audio_output_tokens, cache_read_audio_tokens,
    tier, estimated_input
from spend where run_id = ? order by version, part

-- estimates: of the newest rows, what inputs were estimated at and what they came to
select provider, model, estimated_input, input_tokens
from (select * from spend order by pos desc limit ?)
where estimated_input > 0 and estimated = 0

-- totals: what the wanted rows come to, by one of their properties, demo prices apart; dearest first
with recursive named (id) as (
    select value from json_each(?6)
    union select runs.id from runs join named on runs.parent = named.id
), wanted_run (id) as (
    select id from named
    union all select distinct run_id from spend where ?6 = '[]'
)
select case ?1
        when 'activity' then activity
        when 'run' then run_id
        when 'workflow' then workflow
        when 'model' then iif(model = '', provider, provider || '/' || model)
        when 'provider' then provider
        when 'day' then date(at / 1000000, 'unixepoch')
        when 'prompt' then prompt
        when 'kind' then kind
        when 'tier' then tier
        else coalesce((select value from json_each(labels) where key = substr(?1, 7)), '')
    end as name, simulated, sum(kind = 'call'), sum(kind = 'cached'), sum(input_tokens), sum(output_tokens),
    sum(cache_read_tokens), sum(cache_write_tokens), sum(reasoning_tokens), sum(cost), sum(saved),
    sum(cache_write_1h_tokens), sum(audio_input_tokens), sum(audio_output_tokens), sum(cache_read_audio_tokens),
    sum(estimated)
from spend
where run_id in (select id from wanted_run)
    and (?2 is null or at >= ?2) and (?3 is null or at < ?3) and (?4 = '' or workflow = ?4)
    and (?7 = '' or tenant = ?7)
    and (?5 = '{}' or not exists (select 1 from json_each(?5) as wanted where not exists (
        select 1 from json_each(labels) as own where own.key = wanted.key and own.value = wanted.value)))
group by 1, 2 order by 10 desc, 1, 2
