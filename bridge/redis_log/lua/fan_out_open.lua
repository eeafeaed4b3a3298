-- Takes over the streams of a destination at its target, and reads up to where they have the log.
-- KEYS  position hash
-- ARGV  1 owner   2 epoch   3 id after which the destination began   4 time
-- Answer: {"FENCED", owner} or {"OK", position}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'position')
if stored[1] and stored[1] ~= ARGV[1] and tonumber(stored[2]) >= tonumber(ARGV[2]) then
  return {'FENCED', stored[1]}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', ARGV[2], 'position', stored[3] or ARGV[3], 'time', ARGV[4])
return {'OK', stored[3] or ARGV[3]}
