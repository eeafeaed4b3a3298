-- Settles what was delivered, claims what was read, and hands out the heads of waiting lanes that are due.
-- An entry whose subject waits joins its lane instead of being claimed.
-- KEYS  events, destination hash, held, due, oldest, dead letters, lanes of subjects
-- ARGV  1 owner   2 group   3 lane prefix   4 now, ms on the delivery clock   5 position: the id up to which everything
--       was looked at ("" = as it was)   6 entries up to there since the stream began (-1: unknown)
--       7 due heads wanted   8 "1" where a lane is made of what failed together, "0" where it is one subject
--       9 number of entries to acknowledge, then their ids; then the number of entries to claim, then id and subject of
--       each; then the lanes in flight
-- Answer: {"FENCED", owner} or
--         {"OK", ms until the next head is due (-1: none), waiting lanes, heads, places (from 0) of claims that joined}.
--         A head is {lane, ids, attempts, refusals, {entry or false, ...}, entries behind it ...}.
local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch')
-- guard: fence
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
-- end guard
local group, lane, now = ARGV[2], ARGV[3], tonumber(ARGV[4])
local acknowledged = tonumber(ARGV[9])
local claims = tonumber(ARGV[10 + acknowledged])

-- A script is not rolled back: an entry must not be passed over because it can't be claimed or join its lane.
for _, check in ipairs({
  {'XACK', KEYS[1], group, '0-1'}, {'RPUSH', lane, ''}, {'XCLAIM', KEYS[1], group, 'bridge', '0', '0-1'},
  {'XGROUP', 'SETID', KEYS[1], group, '0'}, {'ZADD', KEYS[5], 'NX', '0', ''},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end

-- whatever is only read comes before the first write, for the same reason
local waiting, joined, ids, lanes = redis.call('HLEN', KEYS[3]), {}, {}, {}
for number = 0, claims - 1 do
  local at = 11 + acknowledged + 2 * number
  local name = false
  if waiting > 0 then
    if ARGV[8] == '1' then
      name = redis.call('HGET', KEYS[7], ARGV[at + 1])
    elseif redis.call('HEXISTS', KEYS[3], ARGV[at + 1]) == 1 then
      name = ARGV[at + 1]
    end
  end
  if name then
    joined[#joined + 1] = number
    lanes[#lanes + 1] = name
  else
    ids[#ids + 1] = ARGV[at]
  end
end

for at = 10, 9 + acknowledged, 1000 do
  redis.call('XACK', KEYS[1], group, unpack(ARGV, at, math.min(at + 999, 9 + acknowledged)))
end
if #ids == 0 and #joined > 0 then
  ids[1] = '0-1' -- nothing, but it shows that the group is there
end
for at = 1, #ids, 1000 do
  local some = {'XCLAIM', KEYS[1], group, 'bridge', '0', unpack(ids, at, math.min(at + 999, #ids))}
  some[#some + 1] = 'FORCE'
  some[#some + 1] = 'JUSTID'
  redis.call(unpack(some))
end
local bounded = {}
for place, number in ipairs(joined) do
  local id, name = ARGV[11 + acknowledged + 2 * number], lanes[place]
  redis.call('RPUSH', lane .. name, id)
  if not bounded[name] then
    redis.call('ZADD', KEYS[5], 'NX', string.match(id, '^%d+'), name) -- a lane of dead letters has no bound yet
    bounded[name] = true
  end
end
if ARGV[5] ~= '' then
  if ARGV[6] ~= '-1' then
    redis.call('XGROUP', 'SETID', KEYS[1], group, ARGV[5], 'ENTRIESREAD', ARGV[6])
  else
    redis.call('XGROUP', 'SETID', KEYS[1], group, ARGV[5])
  end
end

-- how many entries behind a lane's first are handed out with it
local FOLLOWING = 16

local function entry(id)
  local dead = string.match(id, '^d([^:]+):')
  local found = dead and redis.call('XRANGE', KEYS[6], dead, dead) or redis.call('XRANGE', KEYS[1], id, id)
  return found[1] and {id, found[1][2]} or false
end

local heads, wanted, next_due = {}, tonumber(ARGV[7]), -1
if waiting > 0 then
  local busy, count = {}, 0
  for at = 11 + acknowledged + 2 * claims, #ARGV do
    busy[ARGV[at]] = true
    count = count + 1
  end
  local due = redis.call('ZRANGE', KEYS[4], 0, wanted + count, 'WITHSCORES')
  for at = 1, #due, 2 do
    local name, time = due[at], tonumber(due[at + 1])
    if not busy[name] then
      if time > now or #heads >= wanted then
        next_due = math.max(0, time - now)
        break
      end
      local value = redis.call('HGET', KEYS[3], name)
      local ids, attempts, refusals = string.match(value, '^(%S+) (%d+) (%d+) %d* ')
      if not ids then
        ids, attempts = string.match(value, '^(%S+) (%d+) ') -- as 0.1 wrote it: no refusals before the status
      end
      local found = {}
      for id in string.gmatch(ids, '[^,]+') do found[#found + 1] = entry(id) end
      local head = {name, ids, attempts, refusals or '0', found}
      if ARGV[8] == '0' and attempts == '0' and found[1] then
        -- not a retry, so those behind it are likely to follow at once
        for _, behind in ipairs(redis.call('LRANGE', lane .. name, 0, FOLLOWING - 1)) do
          local next_one = entry(behind)
          if not next_one then break end
          head[#head + 1] = next_one
        end
      end
      heads[#heads + 1] = head
    end
  end
end
return {'OK', next_due, waiting, heads, joined}
