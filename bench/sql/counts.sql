\set p random(1, 5000)
SELECT status, count(*) FROM tasks WHERE project_id = md5('project' || :p::text)::uuid GROUP BY status;
