-- schema: what may be spent above the run, as people have set it; how much is, stands in budgets
create table budget_rules (
    tenant text not null, scope text not null, period text not null, body blob not null,
    primary key (tenant, scope, period)
);

-- save: a rule as it is now
insert into budget_rules (tenant, scope, period, body) values (?1, ?2, ?3, ?4)
on conflict (tenant, scope, period) do update set body = excluded.body

-- remove: a rule that is wanted no more; what its calls have reserved is still released
delete from budget_rules where tenant = ? and scope = ? and period = ?

-- all: every rule
select body from budget_rules order by tenant, scope, period

-- opening: what spend rows of a scope and a period hold
select coalesce(sum(cost), 0) from spend
where tenant = ?1 and at >= ?2 and at < ?3 and simulated = ?4
    and (?5 = '' or workflow = ?5)
    and (?6 = '' or exists (
        select 1 from json_each(labels) as own where own.key = ?6 and own.value = ?7))
    and (?8 = '' or provider || '/' || model glob ?8)
    and (?9 = '' or provider glob ?9)

-- known: whether the file has rules at all; one of an earlier schema has not
select 1 from sqlite_schema where name = 'budget_rules'
