-- Says durably that a consuming wait is under way (1) or not (0), if the log still stands where the writer thinks.
-- KEYS  source hash      ARGV  1 sequence   2 owner   3 epoch   4 armed   5 time
-- Answer: {"OK"}, {"MOVED", sequence, cursor} or {"FENCED", owner}.
local stored = redis.call('HMGET', KEYS[1], 'sequence', 'owner', 'epoch', 'cursor')
local sequence = stored[1] or '0'
-- guard: fence
if stored[2] ~= ARGV[2] then
  if tonumber(stored[3] or '0') >= tonumber(ARGV[3]) then
    return {'FENCED', stored[2]}
  end
  return {'MOVED', sequence, stored[4] or ''}
end
-- end guard
-- guard: compare
if sequence ~= ARGV[1] then
  return {'MOVED', sequence, stored[4] or ''}
end
-- end guard
redis.call('HSET', KEYS[1], 'armed', ARGV[4], 'time', ARGV[5])
return {'OK'}
