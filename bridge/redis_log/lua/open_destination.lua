-- Takes over the delivery to a destination in this partition, and makes its consumer group where there is none.
-- KEYS  destination hash, events
-- ARGV  1 instance (unique text)   2 epoch held so far ("0": a start)   3 group   4 id or "$": where a new group starts
-- Answer: {"FENCED", owner} or
--         {"OK", owner, epoch, position, entries up to there since the stream began (-1: unknown), standing}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'standing')
local epoch, held = tonumber(stored[2] or '0'), tonumber(ARGV[2])
-- guard: fence
if held > 0 and stored[1] and stored[1] ~= ARGV[1] .. ':' .. ARGV[2] and epoch >= held then
  return {'FENCED', stored[1]}
end
-- end guard
-- A group that has gone missing starts again at the beginning: delivered twice, but nothing is lost.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[3], (stored[1] or held > 0) and '0' or ARGV[4], 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then
  return redis.error_reply(made.err)
end
epoch = math.max(epoch, held) + 1
local owner = ARGV[1] .. ':' .. epoch
redis.call('HSET', KEYS[1], 'owner', owner, 'epoch', epoch)
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local at = {}
  for field = 1, #group, 2 do at[group[field]] = group[field + 1] end
  if at['name'] == ARGV[3] then
    return {'OK', owner, epoch, at['last-delivered-id'], at['entries-read'] or -1, stored[3] or ''}
  end
end
return redis.error_reply('NOGROUP the consumer group is gone again')
