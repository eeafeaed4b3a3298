-- Takes over the delivery to a destination in this partition, and makes its consumer group where there is none.
-- KEYS  destination hash, events; for a replay its requests
-- ARGV  1 instance (unique text)   2 epoch held so far ("0": a start)   3 group   4 id or "$": where a new group starts
--       5 for a replay: its request, without which there is nothing to take over
-- Answer: {"FENCED", owner} or
--         {"OK", owner, epoch, position, entries up to there since the stream began (-1: unknown), standing}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'standing')
if ARGV[5] and not redis.call('LPOS', KEYS[3], ARGV[5]) then
  return {'FENCED', 'nobody: it was taken off'}
end
local epoch, held = tonumber(stored[2] or '0'), tonumber(ARGV[2])
-- guard: fence
-- an owner of the same instance is this one: the answer to an earlier opening was lost
local same = stored[1] and string.match(stored[1], '^(.*):%d+$') == ARGV[1]
if held > 0 and stored[1] and not same and epoch >= held then
  return {'FENCED', stored[1]}
end
-- end guard
-- A group that has gone missing starts again at the beginning: delivered twice, but nothing is lost.
local gone = not ARGV[5] and (stored[1] or held > 0)
local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[3], gone and '0' or ARGV[4], 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then
  return redis.error_reply(made.err)
end
epoch = math.max(epoch, held) + 1
local owner = ARGV[1] .. ':' .. epoch
redis.call('HSET', KEYS[1], 'owner', owner, 'epoch', epoch)

local function named(reply)
  local at = {}
  for field = 1, #reply, 2 do at[reply[field]] = reply[field + 1] end
  return at
end

-- Redis does not say it of a new group, but of one at either end of the log it can be told.
local function entries_read(position)
  local log = named(redis.call('XINFO', 'STREAM', KEYS[2]))
  if position == log['last-generated-id'] then return log['entries-added'] end
  return position == '0-0' and log['entries-added'] and log['entries-added'] - log['length']
end

for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local at = named(group)
  local position = at['last-delivered-id']
  if at['name'] == ARGV[3] then
    return {'OK', owner, epoch, position, at['entries-read'] or entries_read(position) or -1, stored[3] or ''}
  end
end
return redis.error_reply('NOGROUP the consumer group is gone again')
