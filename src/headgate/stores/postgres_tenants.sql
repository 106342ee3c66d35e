-- tenants: readers see one tenant's rows. The engine's role owns the tables, and writes for all tenants; every other
-- role sees what a policy lets it see, of the tenant that it is bound to, or else that `headgate.tenant` says: where
-- nothing is said, nothing. What has no policy is nobody's but the engine's.
create table readers (role name primary key, tenant text collate "C" not null);
create function reading_tenant() returns text
    language sql stable security definer set search_path from current
as $$
    select coalesce(
        (select tenant from readers where role = session_user),
        nullif(current_setting('headgate.tenant', true), '')
    )
$$;
alter table runs enable row level security;
create policy own_runs on runs for select using (tenant = (select reading_tenant()));
alter table events enable row level security;
create policy own_events on events for select
    using (exists (select from runs where runs.key = events.run and runs.tenant = (select reading_tenant())));
alter table blobs enable row level security;
create policy own_blobs on blobs for select
    using (exists (select from runs where runs.key = blobs.run and runs.tenant = (select reading_tenant())));
alter table spend enable row level security;
create policy own_spend on spend for select using (tenant = (select reading_tenant()));
alter table definitions enable row level security;
create policy own_definitions on definitions for select using (tenant = (select reading_tenant()));
alter table answers enable row level security;
alter table budgets enable row level security;
alter table readers enable row level security;
create function let_read(reader name, bound_to text default null) returns void
    language plpgsql set search_path from current
as $$
begin
    execute format('grant usage on schema %I to %I', current_schema(), reader);
    execute format('grant select on runs, events, blobs, spend, definitions to %I', reader);
    execute format('grant execute on function reading_tenant() to %I', reader);
    delete from readers where role = reader;
    insert into readers (role, tenant) select reader, bound_to where bound_to is not null;
end
$$;
revoke execute on function let_read(name, text), reading_tenant() from public;
