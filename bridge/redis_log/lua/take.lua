-- Settles what was delivered, and hands out what may be sent now: new entries whose subject waits for nothing, and
-- the first entries of waiting subjects that are due. New entries of a waiting subject join its lane instead.
-- KEYS  events, destination hash, held, due, oldest
-- ARGV  1 owner   2 group   3 lane prefix   4 new entries wanted   5 ">" or an id (recovery: entries read before)
--       6 due subjects wanted   7 number of entries to acknowledge, then their ids; then subjects in flight
-- Answer: {"FENCED", owner} or
--         {"OK", ms until the next is due (-1: none), entries gone from the log, entries read, last id read,
--          entries, heads}.
local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch')
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
local group, lane = ARGV[2], ARGV[3]

-- A script is not rolled back: an entry must not join its lane again and again because it can't leave the group.
for _, check in ipairs({{'XACK', KEYS[1], group, '0-1'}, {'RPUSH', lane, ''}}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end

local acknowledged = tonumber(ARGV[7])
for at = 8, 7 + acknowledged, 1000 do
  redis.call('XACK', KEYS[1], group, unpack(ARGV, at, math.min(at + 999, 7 + acknowledged)))
end

-- how many entries behind a lane's first are handed out with it
local FOLLOWING = 16

local function subject_of(fields)
  for at = 1, #fields, 2 do
    if fields[at] == 'subject' then return fields[at + 1] end
  end
  return ''
end

local entries, missing, count_read, last = {}, 0, 0, ''
if ARGV[4] ~= '0' then
  local read = redis.call('XREADGROUP', 'GROUP', group, 'bridge', 'COUNT', ARGV[4], 'STREAMS', KEYS[1], ARGV[5])
  local holding = redis.call('EXISTS', KEYS[3]) == 1
  for _, entry in ipairs(read and read[1] and read[1][2] or {}) do
    count_read, last = count_read + 1, entry[1]
    if not entry[2] then
      redis.call('XACK', KEYS[1], group, entry[1])
      missing = missing + 1
    else
      local subject = subject_of(entry[2])
      if holding and redis.call('HEXISTS', KEYS[3], subject) == 1 then
        redis.call('RPUSH', lane .. subject, entry[1])
        redis.call('XACK', KEYS[1], group, entry[1])
      else
        entries[#entries + 1] = entry
      end
    end
  end
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local busy, count = {}, 0
for at = 8 + acknowledged, #ARGV do
  busy[ARGV[at]] = true
  count = count + 1
end
local heads, wanted, next_due = {}, tonumber(ARGV[6]), -1
local waiting = redis.call('ZRANGE', KEYS[4], 0, wanted + count, 'WITHSCORES')
for at = 1, #waiting, 2 do
  local subject, due = waiting[at], tonumber(waiting[at + 1])
  if not busy[subject] then
    if due > now or #heads >= wanted then
      next_due = math.max(0, due - now)
      break
    end
    local id, attempts = string.match(redis.call('HGET', KEYS[3], subject), '^(%S+) (%d+)')
    local found = redis.call('XRANGE', KEYS[1], id, id)
    local head = {subject, id, attempts, found[1] and found[1][2] or {}}
    if found[1] and attempts == '0' then
      -- not a retry, so those behind it are likely to follow at once
      for _, behind in ipairs(redis.call('LRANGE', lane .. subject, 0, FOLLOWING - 1)) do
        local next_one = redis.call('XRANGE', KEYS[1], behind, behind)[1]
        if not next_one then break end
        head[#head + 1] = next_one
      end
    end
    heads[#heads + 1] = head
  end
end
return {'OK', next_due, missing, count_read, last, entries, heads}
