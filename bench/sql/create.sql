\set p random(1, 5000)
INSERT INTO tasks (project_id, title, description, priority, tags, created_by)
VALUES (md5('project' || :p::text)::uuid, 'A task made under load',
        'A description of the usual length, long enough to look like a sentence that somebody typed into a form.', 'high',
        ARRAY['tag1', 'tag2'], md5('user' || (:p % 200 + 200)::text)::uuid)
RETURNING id, project_id, assigned_to, title, description, status, priority, due_date, estimated_hours, actual_hours, tags, metadata,
       created_by, created_at, updated_at;
