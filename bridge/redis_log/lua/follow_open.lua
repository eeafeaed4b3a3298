-- Takes over the fan-out to a destination in this partition, and makes its consumer group where there is none.
-- KEYS  destination hash, events
-- ARGV  1 instance (unique text)   2 epoch held so far ("0": a start, which takes over from whoever was there)
--       3 group   4 "0", "$" or an id: the entry after which a new destination begins
--       5 epoch that the target has seen: one's own is made higher
-- Answer: {"FENCED", owner} or {"OK", owner, epoch, id after which it began, id up to which its target was known to
--         have everything, entries up to that id|nil-as-false, ids of the dead letters made last, by spaces}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'begins', 'buried')
local epoch, held, seen = tonumber(stored[2] or '0'), tonumber(ARGV[2]), tonumber(ARGV[5])
local owner = ARGV[1] .. ':' .. ARGV[2]
-- an owner of the same instance is this one: the answer to an earlier opening was lost
local same = stored[1] and string.match(stored[1], '^(.*):%d+$') == ARGV[1]
if held > 0 and stored[1] and not same and epoch >= held then
  return {'FENCED', stored[1]}
end

-- A group that has gone missing says nothing: the position at the target does. A log that was emptied is all new.
local new = (stored[1] or held > 0) and '0' or ARGV[4]
local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[3], stored[3] or new, 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then
  return redis.error_reply(made.err)
end
if not made.err and not stored[3] then
  -- how many entries are before the group is known only at either end of the log
  local stream = redis.call('XINFO', 'STREAM', KEYS[2])
  local at = {}
  for field = 1, #stream, 2 do at[stream[field]] = stream[field + 1] end
  local before = new == '$' and at['entries-added'] or new == '0' and at['entries-added'] - at['length']
  if before then
    local from = new == '$' and at['last-generated-id'] or '0-0'
    redis.call('XGROUP', 'SETID', KEYS[2], ARGV[3], from, 'ENTRIESREAD', string.format('%.0f', before))
  end
end
local group = {}
for _, found in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  if found[2] == ARGV[3] then
    for field = 1, #found, 2 do group[found[field]] = found[field + 1] end
  end
end

if stored[1] ~= owner or held <= seen then
  epoch = math.max(epoch, held, seen) + 1
  owner = ARGV[1] .. ':' .. epoch
end
local begins = stored[3] or group['last-delivered-id']
redis.call('HSET', KEYS[1], 'owner', owner, 'epoch', epoch, 'begins', begins)
return {'OK', owner, epoch, begins, group['last-delivered-id'], group['entries-read'] or false, stored[4] or ''}
