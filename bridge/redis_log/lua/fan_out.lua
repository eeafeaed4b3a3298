-- One step of a fan-out: every event into its stream and the position behind them together, or nothing at all.
-- KEYS  position hash     The streams are named in ARGV: a stream that may not be written must not refuse the call.
-- ARGV  1 owner   2 position this batch continues from   3 position after it   4 most entries of a stream ("0" = all)
--       5 a stream such as all may be written to   6 time
--       7... entry (id in the log), stream, id, type, subject, event for each event
-- Answer: {"OK"}, {"MOVED", position}, {"FENCED", owner}, or, where an event could not be added, with all before it
--         in their streams and the position there:
--         {"REFUSED", events added, reason} if its stream takes none, {"STOPPED", events added, reason} if none does.
local stored = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'position')

-- guard: fence
if stored[1] ~= ARGV[1] then
  if tonumber(stored[2] or '0') >= tonumber(string.match(ARGV[1], ':(%d+)$')) then
    return {'FENCED', stored[1]}
  end
  return redis.error_reply('ROLLEDBACK an older owner is stored: the target came back from an older copy')
end
-- end guard

-- guard: compare
if stored[3] ~= ARGV[2] then
  return {'MOVED', stored[3] or ''}
end
-- end guard

-- A script is not rolled back: the position must not fail after the first event.
if not redis.acl_check_cmd('HSET', KEYS[1], 'position', '') then
  return redis.error_reply('NOPERM this user may not run HSET on ' .. KEYS[1])
end

local function may(stream)
  return redis.acl_check_cmd('XADD', stream, '*', 'id', '')
end

local function refused(stream, reason)
  if not may(stream) then
    return may(ARGV[5]), 'NOPERM this user may not run XADD on ' .. stream
  end
  local always = string.find(reason, '^WRONGTYPE') or string.find(reason, 'exhausted') or string.find(reason, 'too large')
  return always, reason .. ' (' .. stream .. ')'
end

local add, most = redis.pcall, ARGV[4]
for at = 7, #ARGV, 6 do
  local added
  if most == '0' then
    added = add('XADD', ARGV[at + 1], '*',
      'id', ARGV[at + 2], 'type', ARGV[at + 3], 'subject', ARGV[at + 4], 'event', ARGV[at + 5])
  else
    added = add('XADD', ARGV[at + 1], 'MAXLEN', '~', most, '*',
      'id', ARGV[at + 2], 'type', ARGV[at + 3], 'subject', ARGV[at + 4], 'event', ARGV[at + 5])
  end
  if type(added) == 'table' then
    if at > 7 then
      redis.call('HSET', KEYS[1], 'position', ARGV[at - 6], 'time', ARGV[6])
    end
    local always, reason = refused(ARGV[at + 1], added.err)
    return {always and 'REFUSED' or 'STOPPED', (at - 7) / 6, reason}
  end
end
if ARGV[3] ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'position', ARGV[3], 'time', ARGV[6])
end
return {'OK'}
