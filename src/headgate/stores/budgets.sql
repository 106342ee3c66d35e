-- schema: what may be spent above the run, as people have set it (schema 3; documents since schema 4)
create table budget_rules (
    tenant text not null, scope text not null, period text not null, body blob not null,
    primary key (tenant, scope, period)
);

-- opening: what spend rows of a scope and a period hold
select coalesce(sum(cost), 0) from spend
where tenant = ?1 and at >= ?2 and at < ?3 and simulated = ?4
    and (?5 = '' or workflow = ?5)
    and (?6 = '' or exists (
        select 1 from json_each(labels) as own where own.key = ?6 and own.value = ?7))
    and (?8 = '' or provider || '/' || model glob ?8)
    and (?9 = '' or provider glob ?9)
