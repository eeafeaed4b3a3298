-- Moves the group of a fan-out to what its target has.
-- KEYS  destination hash, events
-- ARGV  1 owner   2 group   3 id up to which the target has everything   4 entries up to that id ("" = not known)
-- Answer: {"FENCED", owner} or {"OK"}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
if ARGV[4] == '' then
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], ARGV[3])
else
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], ARGV[3], 'ENTRIESREAD', ARGV[4])
end
return {'OK'}
