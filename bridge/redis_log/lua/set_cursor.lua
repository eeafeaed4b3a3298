-- Has a source go on from another place, as an operator says; whoever runs it finds that the log has moved.
-- KEYS  source hash, recent ids
-- ARGV  1 resource   2 owner   3 epoch: as they were shown, "" where there was none
--       4 "1": there is a cursor from now on   5 the cursor   6 "1": forget which ids the log has   7 time
--       8 resource to store where there is none
-- Answer: 1; or 0 where it is not as it was shown, and nothing was done.
local stored = redis.call('HMGET', KEYS[1], 'resource', 'owner', 'epoch')
-- guard: shown
for at = 1, 3 do
  if (stored[at] or '') ~= ARGV[at] then return 0 end
end
-- end guard

-- The epoch of whoever runs it is newer than the one stored now, as after a Redis that came back from an older copy:
-- so it reads its place again, and goes on under a new name. The sequence must not change for this: a batch of one
-- record whose writer then finds the sequence behind it would be taken for one that was stored.
if stored[2] and string.sub(stored[2], 1, 9) ~= 'operator:' then
  local epoch = tonumber(stored[3] or '0') - 1
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', 'operator:' .. epoch)
end
-- The scope goes too: the cursor is meant for the filters of whoever opens the source next.
redis.call('HDEL', KEYS[1], 'bookmark', 'reason', 'scope')
redis.call('HSET', KEYS[1], 'state', 'running', 'time', ARGV[7], 'resource', ARGV[8])
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[1], 'cursor', ARGV[5])
else
  redis.call('HDEL', KEYS[1], 'cursor')
end
if ARGV[6] == '1' then
  redis.call('DEL', KEYS[2])
end
return 1
