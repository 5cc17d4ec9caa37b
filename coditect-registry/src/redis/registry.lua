-- Every operation of the registry, each atomic. KEYS are those of one namespace, ARGV[1] names the operation.
--
-- An instance is written `agent[/tenant]#incarnation`; a report `health in_flight slots`, where health is one letter.
--
--   meta      hash    v (format), epoch (when these data began), run (the server's), seq (last change), token (last)
--   record    hash    instance -> `1 capability@version ...\n{the record's JSON}`
--   lease     hash    instance -> `token ttl fresh report`; fresh is 1 while the record's health reason holds
--   due       zset    instance by the end of its lease, in milliseconds of the server's clock
--   name      zset    instances in alphabetical order, all of score 1
--   offer     zset    `capability@version instance` in alphabetical order
--   holder    hash    `agent[/tenant]#` -> `instance exclusive incarnation ...`: who took the name, and from whom
--   verdict   hash    instance -> the verdict's JSON
--   role      hash    role -> `candidate token end`: who plays it, and until when in milliseconds of the server's clock
--   log       stream  the changes; an entry's id is the number of its last change, its field n how many it holds
local meta, record, lease, due, name, offer, holder, verdict, log, role = unpack(KEYS)
local call = redis.call
local clock = call('TIME')
local micros = clock[1] * 1000000 + clock[2]
local now = math.floor(micros / 1000)

-- Numbers of 16 digits, which Lua would otherwise write as 1.76e+15.
local function int(number)
    return string.format('%.0f', number)
end

local function run_of_server()
    return string.match(call('INFO', 'server'), 'run_id:(%w+)') or ''
end

local function begin()
    local epoch, run = int(micros), run_of_server()
    -- Changes of data that are lost cannot be continued.
    call('DEL', log)
    call('HSET', meta, 'v', '1', 'epoch', epoch, 'run', run, 'seq', epoch, 'token', epoch)
    return epoch
end

local known = call('HMGET', meta, 'v', 'epoch')
local epoch = known[2]
if not known[1] then
    epoch = begin()
elseif known[1] ~= '1' then
    return redis.error_reply('CODITECT keys are in format ' .. known[1] .. ', and this is format 1')
end

local function tell(count, ...)
    local id = int(call('HINCRBY', meta, 'seq', count)) .. '-0'
    local told = redis.pcall('XADD', log, 'MAXLEN', '~', HISTORY, id, 'n', count, ...)
    if type(told) == 'table' and told.err then
        -- A stranger has written to it. Who follows finds the gap, and starts over.
        call('DEL', log)
        call('XADD', log, id, 'n', count, ...)
    end
end

local function key_of(id)
    return string.match(id, '^(.*#)') or id
end

local function incarnation_of(id)
    return string.match(id, '#(.*)$') or id
end

local function withdraw(id, stored)
    local head = string.match(stored, '^1([^\n]*)\n')
    for capability in string.gmatch(head or '', '%S+') do
        call('ZREM', offer, capability .. ' ' .. id)
    end
end

local function drop(id, reason)
    withdraw(id, call('HGET', record, id) or '')
    call('HDEL', record, id)
    call('HDEL', lease, id)
    call('HDEL', verdict, id)
    call('ZREM', due, id)
    call('ZREM', name, id)
    local key = key_of(id)
    local held = call('HGET', holder, key)
    if held and string.match(held, '^%S+') == id then
        call('HDEL', holder, key)
    end
    tell(1, 'k', 'gone', 'i', id, 'r', reason)
end

-- Tells whether an instance lives, and takes it out if its lease has ended.
local function lives(id)
    local ends = call('ZSCORE', due, id)
    if not ends then
        return false
    end
    if tonumber(ends) > now then
        return true
    end
    drop(id, 'expired')
    return false
end

local function sweep(limit)
    local ended = call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, limit)
    for _, id in ipairs(ended) do
        drop(id, 'expired')
    end
    return #ended
end

-- Returns who took the name last and lives: instance, whether it is exclusive, and from whom it took it.
local function held_by(key)
    local held = call('HGET', holder, key)
    if not held then
        return nil, false, {}
    end
    local words = {}
    for word in string.gmatch(held, '%S+') do
        words[#words + 1] = word
    end
    local id, exclusive = table.remove(words, 1), table.remove(words, 1) == '1'
    if not lives(id) then
        return nil, false, {}
    end
    return id, exclusive, words
end

local function is_superseded(id)
    local newer, _, former = held_by(key_of(id))
    if newer and newer ~= id then
        local incarnation = incarnation_of(id)
        for _, other in ipairs(former) do
            if other == incarnation then
                return true
            end
        end
    end
    return false
end

local RENEWED, LOST, SUPERSEDED = 0, 1, 2

local function refusal(id)
    return is_superseded(id) and SUPERSEDED or LOST
end

-- Returns the parts of a live lease that a registration is about: time to live, freshness, report.
local function leased(id, token)
    local kept = lives(id) and call('HGET', lease, id)
    if not kept then
        return nil
    end
    local holds, ttl, fresh, report = string.match(kept, '^(%d+) (%d+) (%d) (.+)$')
    if holds ~= token then
        return nil
    end
    return ttl, fresh, report
end

local function put(id, capabilities, json)
    for capability in string.gmatch(capabilities, '%S+') do
        call('ZADD', offer, 0, capability .. ' ' .. id)
    end
    call('HSET', record, id, '1 ' .. capabilities .. '\n' .. json)
end

-- Large records are fetched by those who watch, so that the log stays small.
local function tell_record(kind, id, json)
    local judged = call('HGET', verdict, id) or ''
    tell(1, 'k', kind, 'i', id, 'd', #json <= INLINE and json or '', 'v', judged)
end

-- Returns a token greater than all before it; one that is restored is as it was, and counts as drawn.
local function draw(restored)
    local last = tonumber(call('HGET', meta, 'token')) or 0
    local drawn = restored or math.max(last + 1, micros)
    call('HSET', meta, 'token', int(math.max(last, drawn)))
    return drawn
end

local operations = {}

-- id, ttl, exclusive, capabilities, json, report, token or ''
function operations.register(id, ttl, exclusive, capabilities, json, report, token)
    local key, newer = key_of(id), {}
    if is_superseded(id) then
        return { epoch, SUPERSEDED }
    end
    local restored = tonumber(token)
    local present = lives(id)
    local first, was_exclusive, former = held_by(key)
    local others = {}
    if exclusive == '1' then
        local last = string.sub(key, 1, -2) .. '$'
        for _, other in ipairs(call('ZRANGEBYLEX', name, '[' .. key, '(' .. last)) do
            if other ~= id and lives(other) then
                others[#others + 1] = other
            end
        end
    elseif first and first ~= id and was_exclusive then
        others[1] = first
    end
    if restored then
        -- Who comes back after a loss of data comes back to its old place.
        for _, other in ipairs(others) do
            local holds = tonumber(string.match(call('HGET', lease, other) or '', '^%d+')) or 0
            if holds > restored then
                return { epoch, SUPERSEDED }
            end
        end
        local own = present and tonumber(string.match(call('HGET', lease, id) or '', '^%d+'))
        if own and own > restored then
            return { epoch, LOST }
        end
    end
    if first ~= id and #others == 0 then
        former = {}
    end
    for _, other in ipairs(others) do
        drop(other, 'replaced')
        former[#former + 1] = incarnation_of(other)
    end
    while #former > 64 do
        table.remove(former, 1)
    end
    if exclusive == '1' or #former > 0 then
        call('HSET', holder, key, id .. ' ' .. exclusive .. ' ' .. table.concat(former, ' '))
    elseif first == id then
        call('HDEL', holder, key)
    end

    local drawn = draw(restored)
    if present then
        withdraw(id, call('HGET', record, id) or '')
        call('HDEL', verdict, id)
    end
    put(id, capabilities, json)
    call('HSET', lease, id, int(drawn) .. ' ' .. ttl .. ' 1 ' .. report)
    call('ZADD', due, now + ttl, id)
    call('ZADD', name, 1, id)
    tell_record(present and 'set' or 'new', id, json)
    return { epoch, RENEWED, int(drawn) }
end

-- as often as there are renewals: id, token, report
function operations.renew(...)
    local asked, answer, changed = { ... }, { epoch }, {}
    for at = 1, #asked, 3 do
        local id, token, report = asked[at], asked[at + 1], asked[at + 2]
        local ttl, fresh, before = leased(id, token)
        if ttl then
            call('ZADD', due, now + ttl, id)
            if report ~= before then
                if string.sub(report, 1, 1) ~= string.sub(before, 1, 1) then
                    fresh = '0'
                end
                call('HSET', lease, id, token .. ' ' .. ttl .. ' ' .. fresh .. ' ' .. report)
                changed[#changed + 1] = id .. ' ' .. report
            end
            answer[#answer + 1] = RENEWED
        else
            answer[#answer + 1] = refusal(id)
        end
    end
    if #changed > 0 then
        tell(#changed, 'k', 'report', 'd', table.concat(changed, '\n'))
    end
    -- Where nobody watches, somebody has to clear away.
    sweep(8)
    return answer
end

-- id, token, capabilities, json, report
function operations.update(id, token, capabilities, json, report)
    local ttl = leased(id, token)
    if not ttl then
        return { epoch, refusal(id) }
    end
    withdraw(id, call('HGET', record, id) or '')
    put(id, capabilities, json)
    call('HSET', lease, id, token .. ' ' .. ttl .. ' 1 ' .. report)
    tell_record('set', id, json)
    return { epoch, RENEWED }
end

-- id, verdict's JSON or ''
function operations.judge(id, found)
    if not lives(id) then
        return { epoch, refusal(id) }
    end
    if (call('HGET', verdict, id) or '') == found then
        return { epoch, RENEWED, 0 }
    end
    if found == '' then
        call('HDEL', verdict, id)
    else
        call('HSET', verdict, id, found)
    end
    tell(1, 'k', 'judge', 'i', id, 'v', found)
    return { epoch, RENEWED, 1 }
end

local function term_of(wanted)
    local candidate, token, ends = string.match(call('HGET', role, wanted) or '', '^(%S+) (%d+) (%d+)$')
    if candidate and tonumber(ends) > now then
        return candidate, token
    end
end

-- role, candidate, ttl; returns the token of the candidate's term, or 0 while the role is another's
function operations.elect(wanted, candidate, ttl)
    local holds, token = term_of(wanted)
    if holds and holds ~= candidate then
        return { epoch, 0 }
    end
    token = token or int(draw())
    call('HSET', role, wanted, candidate .. ' ' .. token .. ' ' .. int(now + ttl))
    return { epoch, token }
end

-- role, candidate
function operations.resign(wanted, candidate)
    if term_of(wanted) == candidate then
        call('HDEL', role, wanted)
    end
    return { epoch }
end

-- id, token
function operations.deregister(id, token)
    if leased(id, token) then
        drop(id, 'left')
    end
    return { epoch }
end

-- limit; returns how many milliseconds it is to the next end of a lease, or -1
function operations.sweep(limit)
    local ended = sweep(limit)
    local next = call('ZRANGE', due, 0, 0, 'WITHSCORES')
    return { epoch, ended, next[2] and math.max(0, next[2] - now) or -1 }
end

function operations.status()
    local state = call('HMGET', meta, 'run', 'seq')
    return { epoch, state[1] or '', state[2] }
end

-- An instance as it is stored.
local function show(page, id)
    local stored, kept = call('HGET', record, id), call('HGET', lease, id)
    page[#page + 1] = id
    page[#page + 1] = stored or ''
    page[#page + 1] = kept or ''
    page[#page + 1] = call('HGET', verdict, id) or ''
    return stored and #stored or 0
end

-- id, or several
function operations.fetch(...)
    local page = { epoch }
    for _, id in ipairs({ ... }) do
        if call('HEXISTS', record, id) == 1 then
            show(page, id)
        end
    end
    return page
end

-- name or offer, from and to (as ZRANGEBYLEX has them), limit; returns where the page ends, and what lives in it
function operations.page(kind, from, to, limit)
    local index = kind == 'name' and name or offer
    local members = call('ZRANGEBYLEX', index, from, to, 'LIMIT', 0, limit)
    local page, bytes = { epoch, '' }, 0
    for at, member in ipairs(members) do
        local id = kind == 'name' and member or string.match(member, ' (.*)$')
        local ends = id and call('ZSCORE', due, id)
        if ends and tonumber(ends) > now then
            bytes = bytes + show(page, id)
        end
        if at == tonumber(limit) or bytes > 1048576 then
            page[2] = member
            break
        end
    end
    return page
end

-- Called after each connect and whenever the server has forgotten this script, as one does that was restarted. Then
-- agents could not renew for a while, and what has ended meanwhile gets some time to come back.
function operations.attach()
    local memory, kept = call('INFO', 'memory'), call('INFO', 'persistence')
    local run = run_of_server()
    local before = call('HGET', meta, 'run')
    if before ~= run then
        call('HSET', meta, 'run', run)
        if before then
            call('ZUNIONSTORE', due, 2, due, name, 'WEIGHTS', 1, now + GRACE, 'AGGREGATE', 'MAX')
        end
    end
    return {
        epoch,
        run,
        string.match(memory, 'maxmemory_policy:([%w-]+)') or '',
        string.match(kept, 'aof_enabled:(%d)') or '',
    }
end

return operations[ARGV[1]](unpack(ARGV, 2))
