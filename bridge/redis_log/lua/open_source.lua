-- Takes ownership of a source and reads where it stands.
-- KEYS  source hash, recent ids
-- ARGV  1 instance (unique text)   2 epoch held so far ("0": a start, which takes over from whoever was there)
--       3 resource the source names   4 time   5 scope: what else its cursor belongs to
-- Answer: {"FENCED", owner} or
--         {"OK", owner, epoch, sequence, cursor|nil-as-false, state, reason, armed, bookmark, reset, ids...}.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'sequence', 'resource', 'scope')
local epoch, held = tonumber(stored[2] or '0'), tonumber(ARGV[2])
-- guard: fence
-- an owner of the same instance is this one: the answer to an earlier opening was lost
local same = stored[1] and string.match(stored[1], '^(.*):%d+$') == ARGV[1]
if held > 0 and stored[1] and not same and epoch >= held then
  return {'FENCED', stored[1]}
end
-- end guard
epoch = math.max(epoch, held) + 1
local owner = ARGV[1] .. ':' .. epoch
local reset = 0
if stored[4] and stored[4] ~= ARGV[3] then
  -- a cursor belongs to one resource; the sequence goes on, so that an older writer still sees that it has moved
  redis.call('HDEL', KEYS[1], 'cursor', 'reason', 'armed', 'bookmark')
  redis.call('HSET', KEYS[1], 'state', 'running')
  reset = 1
elseif stored[5] and stored[5] ~= ARGV[5] then
  -- the same resource, asked for in another way: the source says so in the log, naming its cursor, before it goes on
  local old = redis.call('HMGET', KEYS[1], 'cursor', 'bookmark')
  local mark = old[2] or ''
  if string.sub(mark, 1, 7) ~= 'changed' then
    mark = 'changed:' .. (old[1] or '')
  end
  redis.call('HDEL', KEYS[1], 'cursor', 'reason')
  redis.call('HSET', KEYS[1], 'state', 'running', 'bookmark', mark)
  reset = 1
end
redis.call('HSET', KEYS[1], 'owner', owner, 'epoch', epoch, 'resource', ARGV[3], 'time', ARGV[4], 'scope', ARGV[5])
redis.call('HSETNX', KEYS[1], 'state', 'running')
local now = redis.call('HMGET', KEYS[1], 'cursor', 'state', 'reason', 'armed', 'bookmark')
local answer = {'OK', owner, epoch, stored[3] or '0', now[1], now[2] or 'running', now[3] or '', now[4] or '0',
  now[5] or '', reset}
for _, ids in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  answer[#answer + 1] = ids
end
return answer
