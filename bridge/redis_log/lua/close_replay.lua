-- Takes a replay off: its request, its group and its keys, in one step. Done: if nothing is left; cancelled: in any case.
-- KEYS  events, hash of the replay, held, due, oldest, lanes of subjects, requests, destinations with requests,
--       hash of the destination
-- ARGV  1 owner ("" = cancelled, whoever sends it)   2 group   3 lane prefix   4 destination   5 request
--       6 last id of the range ("" = no replay, only a request that can't be read)   7 what is noted of its end
--       8 the note that tells a running bridge of a cancellation   9 "1": leave that note
-- Answer: {"OK", "DONE" | "LEFT" | "GONE"} or {"FENCED", owner}.
for _, check in ipairs({
  {'LREM', KEYS[7], '1', ''}, {'RPUSH', KEYS[7], ''}, {'SREM', KEYS[8], ''}, {'SADD', KEYS[8], ''},
  {'DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[3]}, {'XGROUP', 'DESTROY', KEYS[1], ARGV[2]},
  {'HSET', KEYS[9], '', ''},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end

local function unlist(request)
  redis.call('LREM', KEYS[7], 0, request)
  if redis.call('EXISTS', KEYS[7]) == 0 then redis.call('SREM', KEYS[8], ARGV[4]) end
end

if ARGV[6] == '' or not redis.call('LPOS', KEYS[7], ARGV[5]) then
  unlist(ARGV[5])
  if ARGV[9] == '' then unlist(ARGV[8]) end
  return {'OK', 'GONE'}
end

local function anything_left()
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  for _, group in ipairs(groups.err and {} or groups) do
    local at = {}
    for field = 1, #group, 2 do at[group[field]] = group[field + 1] end
    if at['name'] == ARGV[2] then
      return at['pending'] > 0 or redis.call('HLEN', KEYS[3]) > 0
        or #redis.call('XRANGE', KEYS[1], '(' .. at['last-delivered-id'], ARGV[6], 'COUNT', 1) > 0
    end
  end
  return true
end

if ARGV[1] ~= '' then
  local stored = redis.call('HMGET', KEYS[2], 'owner', 'epoch')
  -- guard: fence
  if stored[1] ~= ARGV[1] then
    if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
      return {'FENCED', stored[1]}
    end
    return {'OK', 'LEFT'} -- Redis came back from an older copy
  end
  -- end guard
  if anything_left() then return {'OK', 'LEFT'} end
end

for _, name in ipairs(redis.call('HKEYS', KEYS[3])) do
  redis.call('DEL', ARGV[3] .. name, ARGV[3] .. name .. '\n')
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
redis.pcall('XGROUP', 'DESTROY', KEYS[1], ARGV[2])
if redis.call('EXISTS', KEYS[9]) == 1 then redis.call('HSET', KEYS[9], 'replayed', ARGV[7]) end
unlist(ARGV[5])
if ARGV[9] ~= '' then
  redis.call('RPUSH', KEYS[7], ARGV[8])
  redis.call('SADD', KEYS[8], ARGV[4])
end
return {'OK', 'DONE'}
