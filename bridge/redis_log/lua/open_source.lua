-- Takes ownership of a source and reads where it stands.
-- KEYS  source hash, recent ids
-- ARGV  1 instance (unique text)   2 epoch held so far ("0": a start, which takes over from whoever was there)
--       3 resource the source names   4 time
-- Answer: {"FENCED", owner} or {"OK", owner, epoch, sequence, cursor|nil-as-false, state, reason, armed, reset, ids...}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'sequence', 'resource')
local epoch, held = tonumber(stored[2] or '0'), tonumber(ARGV[2])
-- guard: fence
if held > 0 and stored[1] and stored[1] ~= ARGV[1] .. ':' .. ARGV[2] and epoch >= held then
  return {'FENCED', stored[1]}
end
-- end guard
epoch = math.max(epoch, held) + 1
local owner = ARGV[1] .. ':' .. epoch
local reset = 0
if stored[4] and stored[4] ~= ARGV[3] then
  -- a cursor belongs to one resource; the sequence goes on, so that an older writer still sees that it has moved
  redis.call('HDEL', KEYS[1], 'cursor', 'reason', 'armed')
  redis.call('HSET', KEYS[1], 'state', 'running')
  reset = 1
end
redis.call('HSET', KEYS[1], 'owner', owner, 'epoch', epoch, 'resource', ARGV[3], 'time', ARGV[4])
redis.call('HSETNX', KEYS[1], 'state', 'running')
local now = redis.call('HMGET', KEYS[1], 'cursor', 'state', 'reason', 'armed')
local answer = {'OK', owner, epoch, stored[3] or '0', now[1], now[2] or 'running', now[3] or '', now[4] or '0', reset}
for _, ids in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  answer[#answer + 1] = ids
end
return answer
