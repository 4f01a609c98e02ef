\set p random(1, 5000)
SELECT count(*), count(*) FILTER (WHERE status = 'todo'), count(*) FILTER (WHERE status = 'in_progress'),
       count(*) FILTER (WHERE status = 'review'), count(*) FILTER (WHERE status = 'done'),
       count(*) FILTER (WHERE status = 'cancelled'), count(*) FILTER (WHERE priority = 'low'),
       count(*) FILTER (WHERE priority = 'medium'), count(*) FILTER (WHERE priority = 'high'),
       count(*) FILTER (WHERE priority = 'urgent'),
       count(*) FILTER (WHERE due_date < now() AND status NOT IN ('done', 'cancelled')),
       sum(estimated_hours), sum(actual_hours)
FROM tasks WHERE project_id = md5('project' || :p::text)::uuid;
