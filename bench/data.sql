-- A data set for measurements: 200 organizations, 20,000 users, 60,000 memberships, 5,000 projects and :tasks tasks.
-- The id of the n-th row of a kind is md5(kind || n), so that whoever knows a number knows the id, and neighbours in
-- number are not neighbours in an index.
--   :tasks         how many tasks
--   :org_column    ', organization_id' where tasks have that column, else empty
--   :org_value     ', organization_id' likewise
\set ON_ERROR_STOP on
SET session_replication_role = replica;  -- neither triggers nor foreign keys while loading
SET maintenance_work_mem = '512MB';
SET work_mem = '64MB';
SELECT setseed(0.25) \g /dev/null

INSERT INTO users (id, email, password_hash, first_name, last_name, email_verified, created_at)
SELECT md5('user' || n)::uuid, format('user%s@example.test', n), 'not-a-hash', 'First' || n % 1000, 'Last' || n % 777,
       n % 8 <> 0, now() - n * interval '1 hour'
FROM generate_series(1, 20000) n;

INSERT INTO organizations (id, name, slug, description, industry, size)
SELECT md5('organization' || n)::uuid, 'Organization ' || n, 'organization-' || n, repeat('About this organization. ', 5),
       (ARRAY['software', 'health', 'retail'])[1 + n % 3], (ARRAY['small', 'medium', 'large'])[1 + n % 3]::organization_size
FROM generate_series(1, 200) n;

-- The first organization of user n is 1 + n % 200; there are two others.
INSERT INTO user_organizations (user_id, organization_id, role)
SELECT md5('user' || n)::uuid, md5('organization' || 1 + (n + k * (31 + n % 13)) % 200)::uuid,
       CASE WHEN k = 0 AND n <= 200 THEN 'owner' WHEN (n / 200 + k) % 9 = 0 THEN 'admin'
            WHEN (n / 200 + k) % 5 = 0 THEN 'manager' ELSE 'member' END::organization_role
FROM generate_series(1, 20000) n, generate_series(0, 2) k;

-- Project p belongs to organization 1 + p % 200.
INSERT INTO projects (id, organization_id, name, description, status, priority, start_date, budget, created_by, created_at)
SELECT md5('project' || n)::uuid, md5('organization' || 1 + n % 200)::uuid, 'Project ' || n, repeat('What it is about. ', 8),
       (ARRAY['active', 'active', 'on_hold', 'completed'])[1 + n % 4]::project_status,
       (ARRAY['low', 'medium', 'high'])[1 + n % 3]::project_priority, current_date - n % 500, n * 10,
       md5('user' || n % 200 + 200)::uuid, now() - n * interval '3 hours'
FROM generate_series(1, 5000) n;

-- Projects differ in size: with a million tasks the median has some 140 and the largest 14,000. Both people of a task
-- are members of its organization.
INSERT INTO tasks (id, project_id, assigned_to, title, description, status, priority, due_date, estimated_hours,
                   actual_hours, tags, metadata, created_by, created_at, updated_at :org_column)
SELECT md5('task' || n)::uuid, md5('project' || p)::uuid,
       CASE WHEN a < 0.8 THEN md5('user' || p % 200 + 200 * (1 + floor(a * 120)::int))::uuid END,
       format('Task %s: %s the %s', n, (ARRAY['review', 'write', 'fix', 'plan', 'test'])[1 + n % 5],
              (ARRAY['invoice', 'login page', 'import', 'report', 'backup', 'budget'])[1 + n % 6]),
       left(repeat('Say in a "few" words what has to be done, and when it is. ', 6), 60 + n % 240),
       (CASE WHEN s < 0.35 THEN 'todo' WHEN s < 0.55 THEN 'in_progress' WHEN s < 0.65 THEN 'review'
             WHEN s < 0.95 THEN 'done' ELSE 'cancelled' END)::task_status,
       (ARRAY['low', 'medium', 'high', 'urgent'])[1 + n % 4]::task_priority,
       CASE WHEN d < 0.9 THEN now() + (d - 0.45) * interval '400 days' END,
       1 + n % 40, CASE WHEN n % 3 = 0 THEN n % 50 END,
       CASE n % 4 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['tag' || n % 40] ELSE ARRAY['tag' || n % 40, 'area' || n % 30] END,
       CASE WHEN n % 5 = 0 THEN jsonb_build_object('source', 'import', 'row', n) ELSE '{}' END,
       md5('user' || p % 200 + 200)::uuid, made, made + a * interval '20 days' :org_value
FROM (SELECT n, 1 + floor(5000 * r * r)::int AS p, a, s, d, now() - (1 - n::float8 / :tasks) * interval '700 days' AS made
      FROM (SELECT n, random() AS r, random() AS a, random() AS s, random() AS d FROM generate_series(1, :tasks) n) AS dice
     ) AS task
     JOIN LATERAL (SELECT md5('organization' || 1 + p % 200)::uuid AS organization_id) AS owner ON true;

RESET session_replication_role;
VACUUM (ANALYZE);
CHECKPOINT;
