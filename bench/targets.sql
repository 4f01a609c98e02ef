-- What the load asks for: "task project organization-number status" a line. The project is any of the organization's.
WITH picked AS MATERIALIZED (
    SELECT md5('task' || 1 + floor(random() * :tasks)::int)::uuid AS id, floor(random() * 25)::int AS k
    FROM generate_series(1, 20000)),
numbered AS MATERIALIZED (
    SELECT n, md5('organization' || n)::uuid AS id FROM generate_series(1, 200) n)
SELECT t.id, md5('project' || CASE WHEN o.n = 1 THEN 200 * (1 + k) ELSE o.n - 1 + 200 * k END)::uuid, o.n, t.status
FROM (SELECT DISTINCT ON (id) id, k FROM picked) AS picked
JOIN tasks t ON t.id = picked.id JOIN projects p ON p.id = t.project_id JOIN numbered o ON o.id = p.organization_id;
