-- Load for wrk. From the environment: CASE, TARGETS (bench/targets.sql's output), TOKENS ("organization-number token"
-- lines), PREFIX of the paths, PAGE_QUERY, COUNTS_PATH. Targets come in random order, and a round goes through all.
local case, prefix = os.getenv("CASE"), os.getenv("PREFIX")
local page_query, counts_path = os.getenv("PAGE_QUERY"), os.getenv("COUNTS_PATH")
local statuses = { "todo", "in_progress", "review", "done", "cancelled" }
local draft = '{"title":"A task made under load","description":"A description of the usual length, long enough to look ' ..
  'like a sentence that somebody typed into a form.","priority":"high","tags":["tag1","tag2"]}'
local targets, reading, at = {}, {}, 0

local make = {
  task = function(t) return wrk.format("GET", prefix .. "/tasks/" .. t.task, t.headers) end,
  page = function(t) return wrk.format("GET", prefix .. "/projects/" .. t.project .. "/tasks?" .. page_query, t.headers) end,
  counts = function(t) return wrk.format("GET", prefix .. "/projects/" .. t.project .. counts_path, t.headers) end,
  stats = function(t) return wrk.format("GET", prefix .. "/projects/" .. t.project .. "/stats", t.headers) end,
  create = function(t) return wrk.format("POST", prefix .. "/projects/" .. t.project .. "/tasks", t.headers, draft) end,
  -- Always another status than the task has: a change that changes nothing would be cheaper.
  status = function(t)
    t.status = t.status % #statuses + 1
    return wrk.format("PATCH", prefix .. "/tasks/" .. t.task, t.headers, '{"status":"' .. statuses[t.status] .. '"}')
  end,
}

function init()
  math.randomseed(tonumber(os.getenv("SEED")))
  local number = {}
  for i, name in ipairs(statuses) do number[name] = i end
  local headers = {}
  for line in io.lines(os.getenv("TOKENS")) do
    local organization, token = line:match("(%S+) (%S+)")
    headers[organization] = { Authorization = "Bearer " .. token, ["Content-Type"] = "application/json" }
  end
  for line in io.lines(os.getenv("TARGETS")) do
    local task, project, organization, status = line:match("(%S+) (%S+) (%S+) (%S+)")
    targets[#targets + 1] = { task = task, project = project, headers = headers[organization], status = number[status] }
  end
  for i = #targets, 2, -1 do
    local j = math.random(i)
    targets[i], targets[j] = targets[j], targets[i]
  end
  -- Reads are made beforehand, which leaves more of the machine to what is measured.
  for i, target in ipairs(targets) do
    local kind = case
    if case == "mix" then
      local die = math.random(100)
      kind = die <= 80 and "task" or die <= 95 and "page" or die <= 98 and "status" or "create"
    end
    target.kind = kind
    if kind ~= "status" then reading[i] = make[kind](target) end
  end
end

function request()
  at = at % #targets + 1
  return reading[at] or make[targets[at].kind](targets[at])
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %d %.6f %.3f %.3f %d %d %d\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, summary.bytes))
end
