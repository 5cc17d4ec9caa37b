-- All operations of one store. A version is the number of a commit; what was read at one must be as it was then.
local meta, index, values, changed, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local operation, seen = ARGV[1], tonumber(ARGV[2])

local function conflict(text)
    return redis.error_reply('CONFLICT ' .. text)
end

local latest = tonumber(redis.call('HGET', meta, 'latest'))
if not latest then
    -- Versions start from the clock, so that they grow even over a server that was emptied.
    local time = redis.call('TIME')
    latest = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    redis.call('HSET', meta, 'format', FORMAT, 'latest', latest, 'first', latest)
end

if operation == 'attach' then
    return { redis.call('HGET', meta, 'format'), string.format('%.0f', latest) }
end

if seen then
    local first = tonumber(redis.call('HGET', meta, 'first'))
    if seen > latest or seen < first or latest - seen > HISTORY then
        return conflict('transaction has fallen behind the history that is kept')
    end
end

-- Whether a key was changed after the version that was seen.
local function is_changed(key)
    local at = redis.call('ZSCORE', changed, key)
    return at and tonumber(at) > seen
end

local recent = nil

-- Whether a key of a range was; nil if too much has changed to tell.
local function is_range_changed(first, last)
    if not recent then
        local after = string.format('(%.0f', seen)
        if redis.call('ZCOUNT', changed, after, '+inf') > RECENT then
            return nil
        end
        recent = redis.call('ZRANGEBYSCORE', changed, after, '+inf')
    end
    for _, key in ipairs(recent) do
        if first <= key and key < last then
            return true
        end
    end
    return false
end

if operation == 'get' then
    local key = ARGV[3]
    if seen and is_changed(key) then
        return conflict('the state that the transaction reads is gone')
    end
    return { string.format('%.0f', latest), redis.call('HGET', values, key) }
end

if operation == 'range' then
    local first, last, limit, reverse = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1'
    if seen and is_range_changed(first, last) ~= false then
        return conflict('the state that the transaction reads is gone')
    end
    local keys
    if reverse then
        keys = redis.call('ZREVRANGEBYLEX', index, '(' .. last, '[' .. first, 'LIMIT', 0, limit)
    else
        keys = redis.call('ZRANGEBYLEX', index, '[' .. first, '(' .. last, 'LIMIT', 0, limit)
    end
    local answer, bytes = { string.format('%.0f', latest), #keys == limit and '1' or '0' }, 0
    for at, key in ipairs(keys) do
        local value = redis.call('HGET', values, key)
        if not value then
            return redis.error_reply('CODITECT a key of the index has no value')
        end
        answer[#answer + 1], answer[#answer + 2] = key, value
        bytes = bytes + #key + #value
        if bytes > PAGE and at < #keys then
            answer[2] = '1'
            break
        end
    end
    return answer
end

if operation ~= 'commit' then
    return redis.error_reply('CODITECT unknown operation')
end

local at = 2
local function next_argument()
    at = at + 1
    return ARGV[at]
end
local function next_number()
    return tonumber(next_argument())
end

for _ = 1, next_number() do
    if is_changed(next_argument()) then
        return conflict('what was read has changed before the commit')
    end
end
for _ = 1, next_number() do
    local first, last = next_argument(), next_argument()
    if is_range_changed(first, last) ~= false then
        return conflict('what was read has changed before the commit')
    end
end

-- From here on nothing fails but for the server itself.
local version = latest + 1
local score = string.format('%.0f', version)
local told, many = {}, false

local function note(key)
    redis.call('ZADD', changed, score, key)
    if #told < TOLD then
        told[#told + 1] = struct.pack('>I4', #key) .. key
    else
        many = true
    end
end

local function set(key, value)
    redis.call('ZADD', index, 0, key)
    redis.call('HSET', values, key, value)
    note(key)
end

local function stamp(user)
    local bytes, rest = {}, version
    for place = 8, 1, -1 do
        bytes[place] = string.char(rest % 256)
        rest = math.floor(rest / 256)
    end
    return table.concat(bytes) .. '\0\0' .. string.char(math.floor(user / 256), user % 256)
end

for _ = 1, next_number() do
    local first, last = next_argument(), next_argument()
    repeat
        local keys = redis.call('ZRANGEBYLEX', index, '[' .. first, '(' .. last, 'LIMIT', 0, 1000)
        if #keys > 0 then
            redis.call('ZREM', index, unpack(keys))
            redis.call('HDEL', values, unpack(keys))
            for _, key in ipairs(keys) do
                note(key)
            end
        end
    until #keys < 1000
end
local late = {}
for place = 1, next_number() do
    late[place] = { next_argument(), next_argument() }
end
for _ = 1, next_number() do
    local key = next_argument() .. stamp(next_number()) .. next_argument()
    local value, from = next_argument(), next_number()
    local cleared = false
    for place = from + 1, #late do
        cleared = cleared or (late[place][1] <= key and key < late[place][2])
    end
    if not cleared then
        set(key, value)
    end
end
for _ = 1, next_number() do
    local key, kind = next_argument(), next_argument()
    if kind == 's' then
        set(key, next_argument())
    elseif kind == 'v' then
        set(key, next_argument() .. stamp(next_number()) .. next_argument())
    elseif redis.call('ZREM', index, key) == 1 then
        redis.call('HDEL', values, key)
        note(key)
    end
end

redis.call('HSET', meta, 'latest', score)
redis.call('ZREMRANGEBYSCORE', changed, '-inf', string.format('%.0f', version - HISTORY - 1))
redis.call('XADD', log, 'MAXLEN', '~', HISTORY, score .. '-0', many and 'all' or 'k', table.concat(told))
return score
