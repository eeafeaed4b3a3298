-- Has dead letters join the lanes of their subjects: before what waits there, in the order of the log among themselves.
-- They stay dead letters until they are settled; their mark says that they have joined.
-- KEYS  events, destination hash, held, due, oldest, dead letters, lanes of subjects, requests, destinations with requests
-- ARGV  1 owner   2 group   3 lane prefix   4 now, ms on the delivery clock
--       5 "0" where a lane is one subject, "1" where it is made of what failed together, "" where nothing has an order
--       6... request, letter ("" = not about one), its subject
-- Answer: {"FENCED", owner} or {"OK"}.
local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch')
-- guard: fence
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
-- end guard
for _, check in ipairs({
  {'LREM', KEYS[8], '1', ''}, {'HSET', KEYS[3], '', ''}, {'ZADD', KEYS[4], '0', ''}, {'LINSERT', ARGV[3], 'BEFORE', '', ''},
  {'RPUSH', ARGV[3], ''}, {'LPUSH', ARGV[3], ''}, {'SREM', KEYS[9], ''}, {'HDEL', KEYS[2], ''},
  {'XRANGE', KEYS[6], '0-1', '0-1'}, {'HGET', KEYS[2], ''}, {'HEXISTS', KEYS[3], ''}, {'LLEN', ARGV[3]},
  {'LINDEX', ARGV[3], '0'}, {'SADD', ARGV[3], ''}, {'EXISTS', KEYS[8]},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end

local function before(a, b)
  local a_ms, a_seq = string.match(a, '(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '(%d+)-(%d+)$')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_seq) < tonumber(b_seq)
end

-- Letters stand in order at the front of a lane: the place for one more is found by halving.
local function join(name, reference)
  local lane = ARGV[3] .. name
  local low, high, follower = 0, redis.call('LLEN', lane), false
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = redis.call('LINDEX', lane, middle)
    if string.sub(id, 1, 1) ~= 'd' or before(reference, id) then
      high, follower = middle, id
    else
      low = middle + 1
    end
  end
  if not follower then
    redis.call('RPUSH', lane, reference)
  elseif low == 0 then
    redis.call('LPUSH', lane, reference)
  else
    redis.call('LINSERT', lane, 'BEFORE', follower, reference)
  end
end

local joining = {}
for at = 6, #ARGV, 3 do
  local letter = ARGV[at + 1]
  redis.call('LREM', KEYS[8], 1, ARGV[at])
  local found = string.match(letter, '^%d+%-%d+$') and redis.call('XRANGE', KEYS[6], letter, letter)[1]
  if found and redis.call('HGET', KEYS[2], 'again:' .. letter) ~= 'joined' then
    redis.call('HSET', KEYS[2], 'again:' .. letter, 'joined')
    local entry = '0-0'
    for field = 1, #found[2], 2 do
      if found[2][field] == 'entry' then entry = string.match(found[2][field + 1], '^%d+%-%d+$') or entry end
    end
    joining[#joining + 1] = {'d' .. letter .. ':' .. entry, ARGV[at + 2]}
  elseif not found and letter ~= '' then
    redis.call('HDEL', KEYS[2], 'again:' .. letter)
  end
end

table.sort(joining, function(a, b) return before(a[1], b[1]) end)
for _, one in ipairs(joining) do
  local reference, subject = unpack(one)
  local name = reference
  if ARGV[5] == '0' then name = subject
  elseif ARGV[5] == '1' then name = redis.call('HGET', KEYS[7], subject) or reference end
  if redis.call('HEXISTS', KEYS[3], name) == 1 then
    join(name, reference)
  else
    redis.call('HSET', KEYS[3], name, reference .. ' 0 0  ')
    redis.call('ZADD', KEYS[4], ARGV[4], name)
    if ARGV[5] == '1' then
      redis.call('HSET', KEYS[7], subject, name)
      redis.call('SADD', ARGV[3] .. name .. '\n', subject)
    end
  end
end
if redis.call('EXISTS', KEYS[8]) == 0 then redis.call('SREM', KEYS[9], ARGV[2]) end
return {'OK'}
