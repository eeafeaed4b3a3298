-- Asks for a replay. Its consumer group is made at once, so that nothing of its range is trimmed while it waits its turn.
-- KEYS  events, requests, destinations with requests
-- ARGV  1 destination   2 group   3 the id after which it begins   4 request   5 most replays asked for at once
-- Answer: 1, or 0 where there are that many.
for _, check in ipairs({
  {'XGROUP', 'CREATE', KEYS[1], ARGV[2], '0'}, {'RPUSH', KEYS[2], ''}, {'SADD', KEYS[3], ''},
}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end
local asked = 0
for _, text in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if string.sub(text, 1, 7) == 'replay ' then asked = asked + 1 end
end
if asked >= tonumber(ARGV[5]) then return 0 end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[2], ARGV[3])
redis.call('RPUSH', KEYS[2], ARGV[4])
redis.call('SADD', KEYS[3], ARGV[1])
return 1
