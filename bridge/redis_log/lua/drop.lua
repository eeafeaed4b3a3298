-- Removes dead letters for good. One that is tried again is left alone unless that is asked for too.
-- KEYS  destination hash, dead letters
-- ARGV  1 "1": also those that are tried again   2... letters
-- Answer: {dropped, left because they are tried again, gone}. Without its mark a letter is passed over in its lane.
for _, check in ipairs({{'HDEL', KEYS[1], ''}, {'XDEL', KEYS[2], '0-1'}}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end
local dropped, left, gone = 0, 0, 0
for at = 2, #ARGV do
  local mark = 'again:' .. ARGV[at]
  if ARGV[1] ~= '1' and redis.call('HEXISTS', KEYS[1], mark) == 1 then
    left = left + 1
  else
    redis.call('HDEL', KEYS[1], mark)
    if redis.call('XDEL', KEYS[2], ARGV[at]) == 1 then dropped = dropped + 1 else gone = gone + 1 end
  end
end
return {dropped, left, gone}
