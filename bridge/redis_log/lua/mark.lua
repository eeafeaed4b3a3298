-- Stores what became of a destination as a whole, and says it in the log, in one step.
-- KEYS  events, destination hash
-- ARGV  1 owner   2 standing   3 id ("" = nothing is said)   4 type   5 subject   6 event
-- Answer: {"FENCED", owner} or {"OK", 0}. Said once: a standing that is stored already changes nothing.
local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch', 'standing')
-- guard: fence
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
-- end guard
if stored[3] == ARGV[2] then
  return {'OK', 0}
end
for _, check in ipairs({{'XADD', KEYS[1], '*', 'id', ''}, {'HSET', KEYS[2], 'standing', ''}}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[1], '*', 'id', ARGV[3], 'type', ARGV[4], 'subject', ARGV[5], 'event', ARGV[6])
end
redis.call('HSET', KEYS[2], 'standing', ARGV[2])
return {'OK', 0}
