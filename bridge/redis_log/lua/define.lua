-- Stores what was defined or paused while running, takes the command off its stream, and says in the log what became
-- of it: together, or nothing at all.
-- KEYS  definitions hash, commands, events
-- ARGV  1 revision and 2 mark this continues from   3 the mark it makes, a unique text
--       4 what the new revision is above   5 the command's entry ("" = it came another way)
--       6 number of changes, then field and value for each ("" = the field goes); then id, type, subject, event of
--       the answer, if there is one
-- Answer: {"OK", revision, mark}, {"MOVED", revision, ""} or {"GONE", revision, mark}: the command was done already.
local stored = redis.call('HMGET', KEYS[1], 'revision', 'mark')
local revision, mark = stored[1] or '0', stored[2] or ''
-- guard: once
if ARGV[5] ~= '' and #redis.call('XRANGE', KEYS[2], ARGV[5], ARGV[5]) == 0 then
  return {'GONE', revision, mark}
end
-- end guard
local changes = tonumber(ARGV[6])
-- guard: compare
if changes > 0 and (revision ~= ARGV[1] or mark ~= ARGV[2]) then
  return {'MOVED', revision, ''}
end
-- end guard

-- A script is not rolled back: whatever could be refused half-way is refused here, before the first write.
for _, check in ipairs({
  {'HSET', KEYS[1], 'revision', ''}, {'HDEL', KEYS[1], 'revision'}, {'XDEL', KEYS[2], '0-1'},
  {'XADD', KEYS[3], '*', 'id', ''},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end
for at, kind in ipairs({'hash', 'stream', 'stream'}) do
  local found = redis.call('TYPE', KEYS[at]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE ' .. KEYS[at] .. ' holds a ' .. found .. ', not a ' .. kind)
  end
end

local last = 6 + 2 * changes
for at = 7, last, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[at])
  else
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
if changes > 0 then
  revision, mark = tostring(math.max(tonumber(revision), tonumber(ARGV[4])) + 1), ARGV[3]
  redis.call('HSET', KEYS[1], 'revision', revision, 'mark', mark)
end
if ARGV[5] ~= '' then
  redis.call('XDEL', KEYS[2], ARGV[5])
end
if ARGV[last + 1] then
  redis.call('XADD', KEYS[3], '*', 'id', ARGV[last + 1], 'type', ARGV[last + 2], 'subject', ARGV[last + 3],
    'event', ARGV[last + 4])
end
return {'OK', revision, mark}
