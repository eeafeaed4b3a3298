-- The entries that were claimed and not settled, page by page: what a bridge starts with.
-- KEYS  events, destination hash, held, due, oldest, dead letters, lanes of subjects
-- ARGV  1 owner   2 group   3 lane prefix   4 the id after which to look   5 entries wanted
--       6 "1" where a lane is made of what failed together, "0" where it is one subject
-- Answer: {"FENCED", owner} or {"OK", entries gone from the log, last id looked at ("" = none), entries}.
local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch')
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
local group, lane = ARGV[2], ARGV[3]

-- A script is not rolled back: an entry must not join its lane again and again because it can't leave the group.
for _, check in ipairs({{'XACK', KEYS[1], group, '0-1'}, {'RPUSH', lane, ''}, {'ZADD', KEYS[5], 'NX', '0', ''}}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end

local function lane_of(fields)
  local subject = ''
  for at = 1, #fields, 2 do
    if fields[at] == 'subject' then subject = fields[at + 1] end
  end
  if ARGV[6] == '1' then return redis.call('HGET', KEYS[7], subject) end
  return redis.call('HEXISTS', KEYS[3], subject) == 1 and subject
end

local read = redis.call('XREADGROUP', 'GROUP', group, 'bridge', 'COUNT', ARGV[5], 'STREAMS', KEYS[1], ARGV[4])
local entries, missing, last = {}, 0, ''
for _, entry in ipairs(read and read[1] and read[1][2] or {}) do
  last = entry[1]
  local name = entry[2] and lane_of(entry[2])
  if name then
    redis.call('RPUSH', lane .. name, entry[1])
    redis.call('ZADD', KEYS[5], 'NX', string.match(entry[1], '^%d+'), name)
  end
  if name or not entry[2] then
    redis.call('XACK', KEYS[1], group, entry[1])
    missing = missing + (entry[2] and 0 or 1)
  else
    entries[#entries + 1] = entry
  end
end
return {'OK', missing, last, entries}
