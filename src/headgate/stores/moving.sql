-- columns_of_source: what a table of the file has
select name from pragma_table_info(?)

-- columns_of_target: and of the database, with the types
select column_name, data_type from information_schema.columns where table_schema = $1 and table_name = $2

-- go_on_with_keys: the next block of run numbers begins above those that were copied
select setval('run_keys', (coalesce(max(key), 0) / 1000 + 1) * 1000 + 1, false) from runs
