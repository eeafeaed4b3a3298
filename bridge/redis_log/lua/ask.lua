-- Asks for dead letters to be tried again. A letter is marked when it is asked for, so that it is asked for once.
-- KEYS  destination hash, dead letters, requests, destinations with requests
-- ARGV  1 destination   2... letters
-- Answer: {asked for, tried again already, gone}.
for _, check in ipairs({{'HSET', KEYS[1], '', ''}, {'RPUSH', KEYS[3], ''}, {'SADD', KEYS[4], ''}}) do
  if not redis.acl_check_cmd(unpack(check)) then
    return redis.error_reply('NOPERM this user may not run ' .. check[1] .. ' on ' .. check[2])
  end
end
local asked, already, gone = 0, 0, 0
for at = 2, #ARGV do
  local letter = ARGV[at]
  if #redis.call('XRANGE', KEYS[2], letter, letter) == 0 then
    gone = gone + 1
  elseif redis.call('HSETNX', KEYS[1], 'again:' .. letter, 'asked') == 0 then
    already = already + 1
  else
    redis.call('RPUSH', KEYS[3], 'retry ' .. letter)
    asked = asked + 1
  end
end
if asked > 0 then redis.call('SADD', KEYS[4], ARGV[1]) end
return {asked, already, gone}
