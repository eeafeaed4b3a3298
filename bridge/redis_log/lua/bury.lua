-- Keeps what no stream of a fan-out takes among the dead letters, and notes it, so that it is kept once.
-- KEYS  destination hash, dead letters
-- ARGV  1 owner   2 ids of all that were kept since the target's position, by spaces   3 most dead letters kept   4 time
--       5... id, type, subject, event, entry, error for each
-- Answer: {"FENCED", owner} or {"OK"}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: Redis came back from an older copy')
end
-- A script is not rolled back: the note must not fail after the first letter.
if not redis.acl_check_cmd('HSET', KEYS[1], 'buried', '') then
  return redis.error_reply('NOPERM this user may not run HSET on ' .. KEYS[1])
end
for at = 5, #ARGV, 6 do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'id', ARGV[at], 'type', ARGV[at + 1],
    'subject', ARGV[at + 2], 'event', ARGV[at + 3], 'entry', ARGV[at + 4], 'attempts', '1', 'last_status', '',
    'last_error', ARGV[at + 5], 'time', ARGV[4])
end
redis.call('HSET', KEYS[1], 'buried', ARGV[2])
return {'OK'}
