-- One step of the log: events, parked records, cursor and window together, or nothing at all.
-- KEYS  events, parked, source hash, recent ids
-- ARGV  1 sequence this batch continues from   2 owner   3 epoch   4 sequence after it
--       5 "1" if the cursor changes   6 cursor   7 state ("" = unchanged)   8 reason   9 time
--       10 elements to drop from the window   11 ids of this batch ("" = none)   12 most parked records kept
--       13 "1" if the bookmark changes   14 bookmark
--       15 number of events, then id, type, subject, event for each; then source, reason, raw, cursor
--       for each parked record
-- Answer: {"OK"}, {"MOVED", sequence, cursor} or {"FENCED", owner}.
local stored = redis.call('HMGET', KEYS[3], 'sequence', 'owner', 'epoch', 'cursor')
local sequence = stored[1] or '0'

-- guard: fence
if stored[2] ~= ARGV[2] then
  if tonumber(stored[3] or '0') >= tonumber(ARGV[3]) then
    return {'FENCED', stored[2]}
  end
  -- an older owner is stored than this one: Redis came back from an older copy
  return {'MOVED', sequence, stored[4] or ''}
end
-- end guard

-- guard: compare
if sequence ~= ARGV[1] then
  return {'MOVED', sequence, stored[4] or ''}
end
-- end guard

-- A script is not rolled back: whatever could be refused half-way is refused here, before the first write.
for _, check in ipairs({
  {'XADD', KEYS[1], '*', 'id', ''}, {'XADD', KEYS[2], '*', 'id', ''}, {'HSET', KEYS[3], 'cursor', ''},
  {'RPUSH', KEYS[4], ''}, {'LPOP', KEYS[4], '1'},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end
for at, kind in ipairs({'stream', 'stream', 'hash', 'list'}) do
  local found = redis.call('TYPE', KEYS[at]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE ' .. KEYS[at] .. ' holds a ' .. found .. ', not a ' .. kind)
  end
end

local add, events = redis.call, KEYS[1]
local last = 15 + 4 * tonumber(ARGV[15])
for at = 16, last, 4 do
  add('XADD', events, '*', 'id', ARGV[at], 'type', ARGV[at + 1], 'subject', ARGV[at + 2], 'event', ARGV[at + 3])
end
for at = last + 1, #ARGV, 4 do
  add('XADD', KEYS[2], 'MAXLEN', '~', ARGV[12], '*',
    'source', ARGV[at], 'reason', ARGV[at + 1], 'raw', ARGV[at + 2], 'cursor', ARGV[at + 3])
end
redis.call('HSET', KEYS[3], 'sequence', ARGV[4], 'time', ARGV[9])
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[3], 'cursor', ARGV[6])
end
if ARGV[13] == '1' then
  redis.call('HSET', KEYS[3], 'bookmark', ARGV[14])
end
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[3], 'state', ARGV[7], 'reason', ARGV[8])
end
if ARGV[11] ~= '' then
  redis.call('RPUSH', KEYS[4], ARGV[11])
end
if ARGV[10] ~= '0' then
  redis.call('LPOP', KEYS[4], ARGV[10])
end
return {'OK'}
