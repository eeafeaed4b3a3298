-- What came of the first entries of a lane, where that is more than an acknowledgement.
-- KEYS  events, destination hash, held, due, oldest, dead letters, lanes of subjects
-- ARGV  1 owner   2 group   3 lane prefix   4 now, ms on the delivery clock   5 lane
--       6 verdict: "hold" (in flight; what is behind waits in Redis from now on), "retry", "done", "dead"
--       7 attempts and refusals among them   8 ms until it is due again   9 last status ("" = no answer)   10 last error   11 answer
--       12 most dead letters kept   13 time
--       14, 15 entries and bytes that go out together at most   16 "1" where a lane is made of what failed together
--       17 number of entries it is about, then their ids; then the number of dead ones, then entry, id, type,
--       subject, event of each; then ids of the entries that wait behind, and before each its subject, where the lane is made by this
-- Answer: {"FENCED", owner} or {"OK", entries gone from the log}. A next head is due at once: `take` hands it out.
local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch')
-- guard: fence
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
-- end guard
local group, now, name, verdict = ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local lane, members = ARGV[3] .. name, ARGV[3] .. name .. '\n'
local together = ARGV[16] == '1'
local count = tonumber(ARGV[17])
local ids = {unpack(ARGV, 18, 17 + count)}
local dead = tonumber(ARGV[18 + count])
local behind = 19 + count + 5 * dead

-- A script is not rolled back: what this user may not do is refused here, before the first write.
for _, check in ipairs({
  {'XADD', KEYS[6], '*', 'id', ''}, {'XDEL', KEYS[6], '0-1'}, {'XACK', KEYS[1], group, '0-1'},
  {'XRANGE', KEYS[1], '0-1', '0-1'}, {'HSET', KEYS[3], name, ''}, {'HDEL', KEYS[3], name}, {'RPUSH', lane, ''},
  {'LPOP', lane}, {'LPUSH', lane, ''}, {'ZADD', KEYS[4], '0', name}, {'ZADD', KEYS[5], '0', name},
  {'ZREM', KEYS[4], name}, {'ZREM', KEYS[5], name}, {'SADD', members, ''}, {'SMEMBERS', members}, {'DEL', members},
  {'HEXISTS', KEYS[2], ''},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end

local text = table.concat(ids, ',')
local first = redis.call('HGET', KEYS[3], name)
if first and string.match(first, '^%S+') ~= text then
  return {'OK', 0} -- about entries that are no longer the lane's first: the next exchange brings those that are
end

local function wait(some, attempts, due, status, failure)
  redis.call('HSET', KEYS[3], name, table.concat(some, ',') .. ' ' .. attempts .. ' ' .. status .. ' ' .. failure)
  redis.call('ZADD', KEYS[4], due, name)
  -- What can't be trimmed: from the lane's first entry of the log on. Dead letters that are tried again are kept
  -- elsewhere; with them first the bound stays as it is, or is made by the first entry that joins the lane.
  for _, id in ipairs(some) do
    if string.sub(id, 1, 1) ~= 'd' then
      redis.call('ZADD', KEYS[5], string.match(id, '^%d+'), name)
      return
    end
  end
end

-- The letter that an id stands for; nil for an entry of the log.
local function letter_of(id)
  return string.match(id, '^d([^:]+):')
end

for at = 19 + count, behind - 1, 5 do
  local before = letter_of(ARGV[at])
  local letter = {'XADD', KEYS[6], 'MAXLEN', '~', ARGV[12], '*', 'id', ARGV[at + 1], 'type', ARGV[at + 2],
    'subject', ARGV[at + 3], 'event', ARGV[at + 4], 'entry', string.match(ARGV[at], '([^:]+)$'),
    'attempts', string.match(ARGV[7], '^%d+'), 'last_status', ARGV[9], 'last_error', ARGV[10], 'time', ARGV[13]}
  if ARGV[11] ~= '' then
    letter[#letter + 1] = 'last_answer'
    letter[#letter + 1] = ARGV[11]
  end
  -- a letter without its mark was dropped meanwhile
  if not before or redis.call('HEXISTS', KEYS[2], 'again:' .. before) == 1 then redis.call(unpack(letter)) end
end
if verdict == 'done' or verdict == 'dead' then
  for _, id in ipairs(ids) do
    local letter = letter_of(id)
    if letter then
      redis.call('XDEL', KEYS[6], letter)
      redis.call('HDEL', KEYS[2], 'again:' .. letter)
    end
  end
end

if not first then
  if verdict == 'retry' or verdict == 'hold' then
    for at = behind, #ARGV, 2 do
      if ARGV[at + 1] ~= '' then
        redis.call('RPUSH', lane, ARGV[at + 1])
        redis.call('XACK', KEYS[1], group, ARGV[at + 1])
      end
      if together then
        redis.call('HSET', KEYS[7], ARGV[at], name)
        redis.call('SADD', members, ARGV[at])
      end
    end
    wait(ids, ARGV[7], now + tonumber(ARGV[8]), ARGV[9], ARGV[10])
  end
  redis.call('XACK', KEYS[1], group, unpack(ids))
  return {'OK', 0}
end

if verdict == 'retry' or verdict == 'hold' then
  wait(ids, ARGV[7], now + tonumber(ARGV[8]), ARGV[9], ARGV[10])
  return {'OK', 0}
end

-- the next ones come up
local missing, dropped, bytes, some = 0, 0, 0, {}
local most, most_bytes = tonumber(ARGV[14]), tonumber(ARGV[15])
while #some < most do
  local id = redis.call('LPOP', lane)
  if not id then break end
  local letter = letter_of(id)
  local found = letter and redis.call('XRANGE', KEYS[6], letter, letter) or redis.call('XRANGE', KEYS[1], id, id)
  if found[1] then
    for at = 1, #found[1][2], 2 do
      if found[1][2][at] == 'event' then bytes = bytes + #found[1][2][at + 1] end
    end
    if #some > 0 and bytes > most_bytes then
      redis.call('LPUSH', lane, id)
      break
    end
    some[#some + 1] = id
  elseif missing == 10000 and #some == 0 then
    some[1] = id -- gone too, but enough for one call: it is handed out as gone, and its settlement goes on from there
  else
    if letter then redis.call('HDEL', KEYS[2], 'again:' .. letter) end
    missing = missing + 1
    dropped = dropped + (letter and 1 or 0)
  end
end
if #some > 0 then
  wait(some, '0 0', now, '', '')
  return {'OK', missing - dropped}
end
redis.call('HDEL', KEYS[3], name)
redis.call('ZREM', KEYS[4], name)
redis.call('ZREM', KEYS[5], name)
if together then
  for _, subject in ipairs(redis.call('SMEMBERS', members)) do redis.call('HDEL', KEYS[7], subject) end
  redis.call('DEL', members)
end
return {'OK', missing - dropped}
