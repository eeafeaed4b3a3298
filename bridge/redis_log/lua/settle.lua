-- What came of a subject's first entry, where that is more than an acknowledgement.
-- KEYS  events, destination hash, held, due, oldest, dead letters
-- ARGV  1 owner   2 group   3 lane prefix   4 subject   5 entry
--       6 outcome: "hold" (in flight, the subject's other entries wait in Redis from now on), "retry", "done", "dead"
--       7 attempts   8 ms until it is due again   9 last status ("" = no answer)   10 last error
--       11 most dead letters kept   12 time   13 id   14 type   15 event (13 to 15 only for "dead", else "")
--       16... ids of the entries that wait behind it, where it becomes held by this call
-- Answer: {"FENCED", owner} or {"OK", entries gone from the log}. A next head is due at once: `take` hands it out.
local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch')
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
local group, lane, subject, entry, outcome = ARGV[2], ARGV[3] .. ARGV[4], ARGV[4], ARGV[5], ARGV[6]

-- A script is not rolled back: what this user may not do is refused here, before the first write.
for _, check in ipairs({
  {'XADD', KEYS[6], '*', 'id', ''}, {'XACK', KEYS[1], group, entry}, {'XRANGE', KEYS[1], entry, entry},
  {'HSET', KEYS[3], subject, ''}, {'HDEL', KEYS[3], subject}, {'RPUSH', lane, ''}, {'LPOP', lane},
  {'ZADD', KEYS[4], '0', subject}, {'ZADD', KEYS[5], '0', subject}, {'ZREM', KEYS[4], subject}, {'ZREM', KEYS[5], subject},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end

local first = redis.call('HGET', KEYS[3], subject)
local held = first ~= false
if held and string.match(first, '^%S+') ~= entry then
  return {'OK', 0} -- about an entry that is no longer the lane's first: the next exchange brings the one that is
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function wait(id, attempts, due, status, failure)
  redis.call('HSET', KEYS[3], subject, id .. ' ' .. attempts .. ' ' .. status .. ' ' .. failure)
  redis.call('ZADD', KEYS[4], due, subject)
  redis.call('ZADD', KEYS[5], string.match(id, '^%d+'), subject)
end

if outcome == 'dead' then
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[11], '*', 'id', ARGV[13], 'type', ARGV[14], 'subject', subject,
    'event', ARGV[15], 'entry', entry, 'attempts', ARGV[7], 'last_status', ARGV[9], 'last_error', ARGV[10],
    'time', ARGV[12])
end

if not held then
  if outcome ~= 'dead' then
    wait(entry, ARGV[7], now + tonumber(ARGV[8]), ARGV[9], ARGV[10])
    for at = 16, #ARGV do
      redis.call('RPUSH', lane, ARGV[at])
      redis.call('XACK', KEYS[1], group, ARGV[at])
    end
  end
  redis.call('XACK', KEYS[1], group, entry)
  return {'OK', 0}
end

if outcome == 'retry' then
  wait(entry, ARGV[7], now + tonumber(ARGV[8]), ARGV[9], ARGV[10])
  return {'OK', 0}
end

local missing = 0
while true do
  local id = redis.call('LPOP', lane)
  if not id then
    redis.call('HDEL', KEYS[3], subject)
    redis.call('ZREM', KEYS[4], subject)
    redis.call('ZREM', KEYS[5], subject)
    return {'OK', missing}
  end
  local found = redis.call('XRANGE', KEYS[1], id, id)
  if found[1] then
    wait(id, 0, now, '', '')
    return {'OK', missing}
  end
  missing = missing + 1
end
