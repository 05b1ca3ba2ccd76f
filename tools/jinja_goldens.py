#!/usr/bin/env python3
"""What Jinja2 makes of template snippets: src/tokenizer/jinja/testdata/snippets.json.

Needs jinja2 (3.1). Renders every snippet in the environment that Hugging Face gives to chat templates
and writes {template, context, output} or {template, context, error: true}, which jinja_golden_test
replays without Python. --random N adds N random expressions, for trying out changes.
"""
import argparse
import datetime
import json
import pathlib
import random

import jinja2
import jinja2.ext
import jinja2.sandbox

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Grüße, 你好 👋\n"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"b": [1, 2.5, None], "a": "x<y>&'\""}}}]},
        {"role": "tool", "content": "42", "name": "f"},
        {"role": "user", "content": [{"type": "text", "text": "part"}, {"type": "image"}]},
    ],
    "tools": None,
    "add_generation_prompt": True,
    "n": 7, "x": 2.5, "big": 1e22, "small": 1.5e-7, "one": 1.0, "neg": -3,
    "yes": True, "no": False, "nothing": None, "empty": "", "name": "héllo wörld", "word": "Hello",
    "text": "line one\nline two\n\nline four\n", "csv": "a, b,c ,,d", "ctrl": "tab\tquote'\"back\\slash\u0001\u007f\u200b",
    "numbers": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "mixed": [1, "1", True, None, 1.0, [], {}],
    "d": {"b": 1, "a": 2, "C": 3, "items": "shadow", "get": "no"}, "nested": {"x": {"y": [{"z": 5}, {"z": 6}]}},
    "people": [{"name": "Ann", "age": 3}, {"name": "bob", "age": 1}, {"name": "Cy"}],
}

# Expressions over CONTEXT, separated by ";;".
EXPRESSIONS = r"""
n + 1 ;; n - 1 * 2 ;; (n + 1) * 2 ;; n / 2 ;; n // 2 ;; n % 4 ;; neg // 2 ;; neg % 2 ;; 2 ** 3 ** 2 ;; -n ** 2 ;; 7 // -2 ;; 7.5 // 2 ;; 7.5 % -2
neg ;; -neg ;; +n ;; -x ;; 1_000 ;; 0x1F + 0b11 + 0o17 ;; 1e3 ;; 1.5e-7 ;; big ;; small ;; one ;; 0.1 + 0.2 ;; 1e16 ;; 123456789012345680.0 ;; 1/3 ;; 100000.0 * 1e10
yes ;; no ;; nothing ;; missing ;; true ;; True ;; none ;; None ;; 'a' 'b' ;; "q'q" ;; 'q"q' ;; '\n\t\\' ;; '\x41\u00e9\U0001F600' ;; '\d'
yes + 1 ;; true == 1 ;; 1 == 1.0 ;; '1' == 1 ;; none == missing ;; missing == missing2 ;; [1, 2] == [1, 2] ;; (1, 2) == [1, 2] ;; {'a': 1} == {'a': 1.0}
1 < 2 < 3 ;; 1 < 3 < 2 ;; 3 > 2 >= 2 ;; 'a' < 'b' ;; [1, 2] < [1, 3] ;; 1 != 2 ;; not 1 == 2 ;; not true or true ;; 1 in numbers ;; 5 not in numbers ;; 'a' in d ;; 'ell' in word ;; 'x' in missing
1 and 2 ;; 0 and 2 ;; 0 or 'x' ;; '' or none ;; [] or {} ;; missing or 'd' ;; not [] ;; not missing ;; 'a' and '' ;; none or missing ;; (missing or [])|length
'a' ~ 1 ~ none ~ true ~ 1.0 ~ missing ;; 'a' + 'b' ;; [1] + [2] ;; (1,) + (2,) ;; 'ab' * 2 ;; 2 * 'ab' ;; [1] * 3 ;; 'x' * -1 ;; 'a' + 1 ;; 1 + 'a' ;; none + 'a' ;; missing + 1 ;; missing.foo ;; nothing.foo ;; nothing.foo.bar
'x' if yes else 'y' ;; 'x' if no else 'y' ;; 'x' if no ;; ('x' if no) is defined ;; 'a' if no else 'b' if no else 'c' ;; 1 if n > 5 and n < 10 else 2
word[0] ;; word[-1] ;; word[10] ;; word[1:3] ;; word[:-1] ;; word[::-1] ;; word[::2] ;; word[-3:] ;; word[4:1:-1] ;; word[10:] ;; word[:0] ;; name[1] ;; name[-4:] ;; messages[1].content[3:6] ;; name[::-1]
numbers[0] ;; numbers[-1] ;; numbers[9] ;; numbers[1:] ;; numbers[::-1] ;; numbers[-2:] ;; numbers[:100] ;; numbers[5:] ;; (1,2,3)[1:] ;; numbers['x'] ;; numbers[::-2] ;; numbers[1::-1] ;; numbers[0:0]
[1, 'a', none, true, 1.5, missing] ;; (1,) ;; () ;; (1, 2) ;; 1, 2 ;; {} ;; {'a': [1, {'b': none}]} ;; {1: 2, 'x': 'y', none: 1, true: 3} ;; ["it's"] ;; ['"'] ;; ["'\""] ;; [ctrl] ;; [name] ;; ['\n']
d.b ;; d['b'] ;; d.missing ;; d['missing'] ;; d['items'] ;; d.get('a') ;; d.get('zz') ;; d.get('zz', 9) ;; d['get'] ;; d.keys()|list ;; d.values()|list ;; d.items()|list
nested.x.y.0.z ;; nested.x.y[1].z ;; nested['x']['y'][-1]['z'] ;; nested.x.q ;; nested.x.q.r ;; messages[2].tool_calls[0].function.name ;; messages.0.role ;; messages[-1].content[0].text
d|tojson ;; d|tojson(indent=2) ;; messages[2]|tojson ;; ctrl|tojson ;; ctrl|tojson(ensure_ascii=true) ;; name|tojson ;; name|tojson(ensure_ascii=True) ;; '👋'|tojson(ensure_ascii=True) ;; d|tojson(sort_keys=true)
d|tojson(separators=(',', ':')) ;; []|tojson(indent=2) ;; {}|tojson(indent=4) ;; [[], {}, [1]]|tojson(indent=2) ;; none|tojson ;; true|tojson ;; 1.0|tojson ;; 1e22|tojson ;; big|tojson ;; {1: 2, none: 3, true: 4, 1.5: 5}|tojson ;; (1, 2)|tojson ;; missing|tojson ;; [missing]|tojson ;; '<a href="x">&</a>'|tojson ;; d|tojson(indent='\t')
numbers|length ;; word|length ;; name|length ;; d|length ;; missing|length ;; n|length ;; none|length ;; d|count ;; ''|length
'  a b  '|trim ;; 'xxaxx'|trim('x') ;; messages[1].content|trim ;; none|trim ;; 5|trim ;; missing|trim ;; '\u00a0 a\u3000'|trim
none|string ;; true|string ;; 1.0|string ;; [1, 'a']|string ;; missing|string ;; word|string ;; n|string ;; d|string
d|items|list ;; missing|items|list ;; n|items ;; numbers|join ;; numbers|join(', ') ;; words|join('-') ;; mixed|join('|') ;; people|join(', ', attribute='name') ;; missing|join ;; word|join('.') ;; d|join(',')
missing|default('x') ;; missing|default ;; none|default('x') ;; ''|default('x', true) ;; none|default('x', boolean=true) ;; 0|default(5, true) ;; d.zz|d('q') ;; n|default('x')
words|list ;; word|list ;; d|list ;; missing|list ;; n|list ;; (1, 2)|list ;; numbers|first ;; numbers|last ;; []|first ;; word|first ;; word|last ;; missing|first ;; d|first
messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list ;; messages|selectattr('role', '==', 'user')|list|length ;; messages|selectattr('content', 'string')|map(attribute='role')|list ;; messages|rejectattr('role', 'in', ['user', 'tool'])|map(attribute='role')|list
messages|selectattr('tool_calls')|list|length ;; messages|selectattr('tool_calls', 'defined')|list|length ;; messages|selectattr('name', 'undefined')|list|length ;; people|map(attribute='age')|list ;; people|map(attribute='age', default=0)|list ;; words|map('upper')|list ;; words|map('replace', 'p', 'q')|join(',') ;; messages|map(attribute='tool_calls.0.function.name')|list
numbers|select('odd')|list ;; numbers|reject('odd')|list ;; mixed|select|list ;; mixed|select('string')|list ;; mixed|reject('none')|list ;; numbers|select('gt', 1)|list ;; numbers|select('in', [1, 2])|list ;; none|select|list ;; 0|map('upper')|list ;; none|selectattr('x')|list ;; n|select|list ;; numbers|select('nosuch')|list ;; words|map('nosuch')|list
word|lower ;; word|upper ;; name|upper ;; word|capitalize ;; 'hELLO wORLD'|capitalize ;; 'hello world-foo (bar)'|title ;; none|upper ;; n|upper ;; 'ÀÉ'|lower ;; missing|upper
d|dictsort ;; d|dictsort(true) ;; d|dictsort(false, 'value') ;; d|dictsort(reverse=true) ;; d|dictsort(by='key') ;; numbers|sort ;; numbers|sort(reverse=true) ;; words|sort ;; words|sort(case_sensitive=true) ;; people|sort(attribute='name')|map(attribute='name')|list ;; mixed|sort ;; [[2, 1], [1, 2]]|sort ;; words|unique|list ;; words|unique(true)|list ;; [1, 1.0, true, 2]|unique|list
word|replace('l', 'L') ;; word|replace('l', 'L', 1) ;; 'aaa'|replace('a', 'aa') ;; word|replace('', '-') ;; 5|replace('5', 'x') ;; text|indent ;; text|indent(2) ;; text|indent(2, true) ;; text|indent(2, first=true, blank=true) ;; text|indent('> ') ;; ''|indent ;; 'a\n\nb'|indent(2, blank=true) ;; 'a\r\nb'|indent(1)
'5'|int ;; '5.7'|int ;; 'x'|int ;; 'x'|int(-1) ;; 5.9|int ;; '0x1f'|int(base=16) ;; 'ff'|int(0, 16) ;; ' 42 '|int ;; true|int ;; none|int ;; []|int(3) ;; '1e3'|int ;; '5.5'|float ;; 'x'|float ;; 'x'|float(1.5) ;; 3|float ;; '-5'|int ;; '+5'|int ;; 'inf'|float
2.5|round ;; 3.5|round ;; 2.567|round(2) ;; 2.5|round(0, 'ceil') ;; 2.5|round(method='floor') ;; 7|round ;; 0.5|round ;; 1.005|round(2) ;; 15|round(-1) ;; -5|abs ;; -2.5|abs ;; 'a'|abs ;; -3.7|round ;; 1234.5|round(-2)
numbers|sum ;; numbers|sum(start=10) ;; people|selectattr('age')|sum('age') ;; numbers|min ;; numbers|max ;; words|min ;; words|max ;; []|max ;; people|selectattr('age', 'defined')|max(attribute='age') ;; []|min is defined ;; []|sum
numbers|reverse|list ;; word|reverse ;; numbers|batch(2)|list ;; numbers|batch(2, 'x')|list ;; 'a b  c'|wordcount ;; '<a>'|e ;; '<a & "b">'|escape ;; word|safe ;; word|center(11) ;; word|center(10) ;; 'x'|nosuch ;; 'x'|format ;; '%s'|format('a')
'%s and %s'|format(1, 'x') ;; '%d%%'|format(5) ;; '%s' % 5 ;; '%s %r' % ('a', 'a') ;; '%05d|%-5d|%+d|% d' % (42, 42, 42, 42) ;; '%.2f %e %g' % (3.14159, 1234.5, 0.0001) ;; '%x %X %o %#x' % (255, 255, 8, 255) ;; '%5s|%-5s|%.2s' % ('ab', 'ab', 'abcd') ;; '%(a)s' % {'a': 1} ;; '%(a)s-%(b)d'|format(a=1, b=2) ;; '%c' % 'x' ;; '%d' % 3.9 ;; '%s' % none ;; '%d' % 'x' ;; '%s' % (1, 2) ;; '%s %s' % (1,) ;; '%s' % [1, 2] ;; 'a' % 1 ;; '%z' % 1 ;; '%08.3f' % -3.14159 ;; '%s' % missing
'a b  c'.split() ;; csv.split(',') ;; csv.split(', ', 1) ;; 'a b c'.split(none, 1) ;; 'a b c'.split(maxsplit=1) ;; 'a--b'.split('--') ;; 'abc'.split('') ;; ' a  b '.split() ;; ''.split() ;; ''.split(',') ;; 'a,b,c'.rsplit(',', 1) ;; ' a b c '.rsplit(none, 1) ;; 'a b c'.split(' ')[-1] ;; '  a b  c '.split(none, 1)
' a '.strip() ;; ' a '.lstrip() ;; ' a '.rstrip() ;; 'xyaxy'.strip('xy') ;; '\n\na\n'.lstrip('\n') ;; 'aXa'.strip('a') ;; word.startswith('He') ;; word.endswith('lo') ;; word.startswith(('x', 'H')) ;; word.endswith(['o']) ;; word.upper() ;; word.lower() ;; 'a b'.title() ;; "it's".title() ;; 'ab CD'.capitalize() ;; word.replace('l', 'L') ;; word.replace('l', 'L', 1) ;; ', '.join(words) ;; ','.join([1]) ;; word.find('l') ;; word.find('z') ;; word.rfind('l') ;; word.index('z') ;; name.find('w') ;; word.count('l') ;; ''.count('')
'5'.isdigit() ;; 'a5'.isdigit() ;; 'ab'.isalpha() ;; 'a5'.isalnum() ;; ' '.isspace() ;; ''.isspace() ;; 'AB'.isupper() ;; 'ab'.islower() ;; 'a'.ljust(3) ~ '|' ;; 'a'.rjust(3, '*') ;; 'a'.center(4) ~ '|' ;; 'ab'.center(5, '*') ;; 'a\nb\r\nc'.splitlines() ;; 'a\nb\n'.splitlines(true) ;; 'a=b=c'.partition('=') ;; 'a=b=c'.rpartition('=') ;; 'abc'.partition('x') ;; 'abc'.removeprefix('a') ;; 'abc'.removesuffix('c') ;; '{} {}'.format(1, 'a') ;; '{0}{1}{0}'.format('a', 'b') ;; '{a}'.format(a=1) ;; '{{}}'.format() ;; word.nosuch() ;; word.nosuch ;; word.upper|string|length > 0
n is defined ;; missing is defined ;; missing is not defined ;; missing is undefined ;; none is defined ;; d.zz is defined ;; none is none ;; missing is none ;; n is none ;; word is string ;; n is string ;; n is number ;; x is number ;; yes is number ;; word is number ;; n is integer ;; yes is integer ;; x is float ;; n is float ;; yes is boolean ;; n is boolean ;; yes is true ;; n is true ;; no is false ;; 0 is false
d is mapping ;; numbers is mapping ;; word is mapping ;; d is sequence ;; numbers is sequence ;; word is sequence ;; n is sequence ;; missing is sequence ;; d is iterable ;; numbers is iterable ;; word is iterable ;; n is iterable ;; none is iterable ;; missing is iterable ;; (1, 2) is sequence ;; range(3) is iterable
n is odd ;; 3.0 is odd ;; 2.5 is even ;; [1] in d ;; n|indent ;; n[1:] ;; n is even ;; n is divisibleby 7 ;; n is divisibleby(2) ;; n is eq 7 ;; n is equalto(7) ;; n is ne 7 ;; n is lt 8 ;; n is gt(8) ;; n is ge 7 ;; n is le 6 ;; n is sameas 7 ;; yes is sameas true ;; n is in [7] ;; n is in numbers ;; word is in 'Hello!' ;; 'ab' is lower ;; 'AB' is upper ;; 'Ab' is lower ;; range is callable ;; n is callable ;; 'upper' is filter ;; 'nosuch' is filter ;; 'odd' is test ;; n is nosuch ;; word is odd ;; n is string or word is string ;; not n is string and yes
range(5)|list ;; range(2, 5)|list ;; range(5, 0, -2)|list ;; range(0)|list ;; range(5)[2] ;; range(5)|length ;; range(5)|sum ;; 3 in range(5) ;; range(0, 10, 0) ;; dict(a=1, b=2) ;; dict({'x': 1}, y=2) ;; dict([('a', 1)]) ;; namespace(a=1).a ;; namespace(a=1).b ;; namespace({'a': 5}).a ;; raise_exception('no!') ;; (1, 2)|join ;; strftime_now('%Y-%m-%d') ;; strftime_now('%d %b %Y, %A %H:%M') ;; range('x')
9223372036854775807 ;; -9223372036854775807 - 1 ;; 2 ** 62 ;; 10 ** 18 ;; 2 ** -1 ;; 2 ** 0.5 ;; 5 / 0 ;; 5 % 0 ;; 5 // 0 ;; 1 / 2 ;; 4 / 2 ;; 7 / 2.0 ;; -7 / 2 ;; 0.0 == -0.0 ;; 1e308 * 10 ;; -1e308 * 10
(1, 2, 3)|first ;; [1, 2, 3].index(2) ;; [1, 2, 2].count(2) ;; [[1, 2], [3]]|map('length')|list ;; [[1, 2], [3]]|map('first')|list ;; [1, 2] is sameas [1, 2] ;; people[0] ;; [people[0].name, people[-1].age] ;; {'a': 1}.get|string|length > 0 ;; [3, 4].pop() ;; [3, 4].pop(0) ;; {'a': 1}.pop('a') ;; {'a': 1}.pop('b') ;; {'a': 1}.pop('b', 2) ;; {'a': 1}.copy() ;; {'a': 1}.setdefault('b', 2) ;; [1].append(2) ;; [].pop()
1 if missing is defined and missing.foo else 2 ;; missing.foo is defined ;; d.zz.foo is defined ;; d.zz is defined and d.zz.foo ;; messages[99] is defined ;; messages[99].role ;; (messages|last).role ;; (messages|first)['role'] ;; messages[1:]|length ;; messages[::-1][0].role ;; messages|map(attribute='role')|join(' ') ;; messages[1]['content'].split()[-1]
""".strip().splitlines()

TEMPLATES = [
    # whitespace control
    "a\n  {% if yes %}\n  b\n  {% endif %}\nc\n", "a {%- if yes -%} b {%- endif -%} c", "a\n{%+ if yes +%}\nb{% endif %}\n\nc",
    "  {# c #}  x\n  {# c #}\n y", "a {#- c -#} b", "a\n  {#+ c +#}\nb", "{{ 1 }}\n{{ 2 }}\n", "{{- 1 -}}  x  {{- 2 }}\n\n", "x\n\n",
    "\n{% if yes %}\n\nx{% endif %}", "a  {% if yes %}b{% endif %}  c", "\t{%- if yes %} b{% endif %}\t\n", "{%- set a = 1 -%}\n\n {{ a }}",
    "{% raw %}{{ x }} {% if %}{% endraw %}!", "{% raw -%}  a  {%- endraw %} b", "a\n  {% raw %}\n x\n  {% endraw %}\nb", "{%- raw -%} {# x #} {%- endraw -%} z",
    "a\r\nb\r{{ 1 }}\r\n", "{{ 'a\r\nb' }}", "{% if yes %}a{% endif %}\n{% if yes %}\nb{% endif %}", "  {{ 1 }}  {% set q = 1 %}  \n z",
    # brackets and strings inside tags
    "{{ {'a': {'b': 1}} }}", "{{ '}}' }}{{ \"%}\" }}", "{{ [1, 2,][1] }}{{ {'a': 1,}.a }}", "{{ (1, 2,) }}", "{{ f }}{# x", "{{ 1", "{% if %}", "{% endif %}", "{{ }}", "{{ 'a }}", "{% if yes %}",
    "{% for %}{% endfor %}", "{{ 1 + }}", "{{ a b }}", "{{ (1 }}", "{{ 1) }}", "{% nosuch %}", "{% else %}", "{{ a..b }}", "{{ $ }}", "{% set %}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% break %}", "{% macro f(a=1, b) %}{% endmacro %}",
    # if
    "{% if n > 5 %}big{% elif n > 2 %}mid{% else %}small{% endif %}", "{% if no %}a{% elif no %}b{% elif yes %}c{% else %}d{% endif %}", "{% if missing %}a{% else %}b{% endif %}", "{% if no %}{{ 1/0 }}{% endif %}ok",
    "{% if not tools %}none{% endif %}{% if tools is defined %}defined{% endif %}",
    # for
    "{% for i in numbers %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}", "{% for i in [] %}x{% else %}empty{% endfor %}", "{% for i in missing %}x{% else %}empty{% endfor %}", "{% for i in nothing %}x{% endfor %}", "{% for i in n %}x{% endfor %}",
    "{% for c in name %}[{{ c }}]{% endfor %}", "{% for k in d %}{{ k }} {% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}:{{ loop.last }} {% else %}none{% endfor %}", "{% for m in messages if m.role == 'nobody' %}x{% else %}none{% endfor %}",
    "{% for i in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for i in numbers %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}", "{% for i in numbers %}{% for j in numbers %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for i in range(10) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in range(6) %}{% if i % 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% for (a, b) in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for a, b in ['xy'] %}{{ a }}-{{ b }}{% endfor %}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}", "{% for i in numbers %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [1, 1, 2] %}{{ loop.changed(i) }} {% endfor %}", "{% for i in numbers | sort %}{{ i }}{% endfor %}", "{% for i in (numbers if yes else []) %}{{ i }}{% endfor %}",
    "{% for t in [{'v': 1, 'c': [{'v': 2, 'c': [{'v': 3}]}]}] recursive %}{{ t.v }}@{{ loop.depth }}{% if t.c %}({{ loop(t.c) }}){% endif %}{% endfor %}", "{{ loop }}", "{% for i in numbers %}{% endfor %}{{ i }}{{ loop }}",
    "{% for x in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}{{ index }}{{ x.role }} {% endfor %}",
    # set and scope
    "{% set a = 1 %}{% for i in numbers %}{{ a }}{% set a = i %}{{ a }}{% endfor %}{{ a }}", "{% if yes %}{% set a = 5 %}{% endif %}{{ a }}", "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "{% set a = (1, 2) %}{{ a }}", "{% set a = 1, %}{{ a }}", "{% set (a, b) = [3, 4] %}{{ a + b }}",
    "{% set ns = namespace(c=0) %}{% for i in numbers %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}", "{% set ns = namespace() %}{% set ns.x = 'a' %}{% set ns.x = ns.x ~ 'b' %}{{ ns.x }}{{ ns.y }}{{ ns.y is defined }}", "{% set d.b = 3 %}", "{% set nosuch.b = 3 %}", "{% set ns = namespace(a=1) %}{% set ns.a, b = 4, 5 %}{{ ns.a }}{{ b }}",
    "{% set x %}a{{ n }}b{% endset %}[{{ x }}]{{ x is string }}", "{% set x | upper | replace('A', '-') %}abc{% endset %}{{ x }}", "{% set x %}{% set y = 1 %}{% endset %}{{ y is defined }}", "{% set x %}\n  {% for i in numbers %}\n  {{ i }}\n  {% endfor %}\n{% endset %}{{ x | trim }}",
    "{% for i in [1] %}{% set n = 9 %}{{ n }}{% endfor %}{{ n }}", "{% for n in [1] %}{{ n }}{% endfor %}{{ n }}", "{% set messages = messages[1:] %}{{ messages | length }}", "{% if not qq is defined %}{% set qq = false %}{% endif %}{{ qq }}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ a }}{{ c }}", "{% with %}{% set c = 3 %}{{ c }}{% endwith %}{{ c }}", "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% set l = [] %}{% for i in numbers %}{{ l.append(i) or '' }}{% endfor %}{{ l }}", "{% set l = [1] %}{% set _ = l.extend([2, 3]) %}{% set _ = l.insert(0, 0) %}{% set _ = l.reverse() %}{{ l }}", "{% set e = {} %}{% set _ = e.update({'a': 1}) %}{% set _ = e.update(b=2) %}{{ e }}", "{% set ns = namespace(l=[]) %}{% for i in numbers %}{% set ns.l = ns.l + [i * 2] %}{% endfor %}{{ ns.l }}",
    # macros
    "{% macro f(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c=5) }}{{ f(b=1, a=2) }}{{ f() }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}", "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(4) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro f() %}{% set q = 1 %}{{ n }}{% endmacro %}{{ f() }}{{ q }}", "{% macro f() %}{{ later }}{% endmacro %}{% set later = 8 %}{{ f() }}", "{% macro f() %} x {% endmacro %}{% set r = f() | trim %}[{{ r }}]{{ r is string }}", "{% for i in numbers %}{{ f(i) }}{% endfor %}{% macro f(x) %}{% endmacro %}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, z=3) }}", "{% macro f(x) %}{{ x }}{{ varargs | length }}{% endmacro %}{{ f(1, 2, 3) }}", "{% macro f(x) %}<{{ caller() }}{{ x }}>{% endmacro %}{% call f(1) %}in {{ n }}{% endcall %}", "{% macro f(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(u) f(numbers) %}[{{ u }}]{% endcall %}", "{% macro f() %}x{% endmacro %}{% call f() %}{% endcall %}",
    "{% for i in [1, 2] %}{% macro g() %}{{ i }}{% endmacro %}{{ g() }}{% endfor %}{{ g is defined }}", "{% macro f(a) %}{% for i in a %}{% if i is iterable and i is not string %}{{ f(i) }}{% else %}{{ i }}{% endif %}{% endfor %}{% endmacro %}{{ f([1, [2, [3, 'ab']]]) }}", "{{ f() }}", "{{ n() }}", "{% set f = namespace %}{{ f(a=1).a }}", "{% macro f(a) %}{{ a is defined }}{% endmacro %}{{ f() }}{{ f(none) }}", "{% macro f(*a) %}{% endmacro %}", "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 3, 'b': 4}) }}{{ f(*[5], b=6) }}",
    # blocks
    "{% filter upper %}abc {{ word }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aaa{% endfilter %}", "{% generation %}a{% set zz = 1 %}{% endgeneration %}{{ zz }}", "{% set j = joiner('|') %}{% for i in numbers %}{{ j() }}{{ i }}{% endfor %}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}", "{% include 'x' %}", "{% extends 'x' %}",
    # what real templates do
    "{%- for m in messages %}\n    {%- if m.content is string %}\n        {{- '<|' + m.role + '|>' + m.content }}\n    {%- elif m.content is iterable and m.content is not mapping and m.content is not none %}\n        {%- for p in m.content %}\n            {%- if p.type == 'text' %}{{- p.text }}{%- endif %}\n        {%- endfor %}\n    {%- endif %}\n{%- endfor %}",
    "{%- macro render(spec, depth=0) -%}\n{%- if spec is mapping -%}\n{%- for k, v in spec.items() -%}\n{{- '\\n' + '  ' * depth + k + ':' }}{{ render(v, depth + 1) }}\n{%- endfor -%}\n{%- elif spec is sequence and spec is not string -%}\n[{%- for v in spec -%}{{ render(v, depth) }}{%- if not loop.last %}, {% endif -%}{%- endfor -%}]\n{%- else -%}\n {{ spec | string }}\n{%- endif -%}\n{%- endmacro -%}\n{{ render(nested) }}{{ render(messages[2]) }}",
    "{%- set args = messages[2].tool_calls[0].function.arguments %}{%- for k, v in args|items %}<parameter={{ k }}>\n{{ v | tojson | safe if v is mapping or (v is sequence and v is not string) else v | string }}\n</parameter>{% endfor %}",
    "{% set content = '<think>a\\nb</think>\\n\\nanswer' %}{% set r = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{{ r }}|{{ content.split('</think>')[-1].lstrip('\\n') }}", "{%- if messages[0].role == 'system' or messages[0]['role'] == 'developer' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'].strip() %}{% else %}{% set loop_messages = messages %}{% endif %}{{ system_message }}{{ loop_messages | length }}",
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate ' ~ loop.index0) }}{% endif %}{% endfor %}", "{{- bos_token }}{{ eos_token | default('<e>') }}", "{%- set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{{ ns.last }}", "{{ 'Current date: ' + strftime_now('%Y-%m-%d') }}\n{{- 'x' if add_generation_prompt and not tools else 'y' }}",
]

# How Python prints objects that are plain lists or functions here.
UNPORTABLE = (" at 0x", "dict_items(", "dict_keys(", "dict_values(", "<built-in ", "<class ", "<bound method")


def make_environment():
    environment = jinja2.sandbox.SandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    # The tests' clock stands at this moment.
    environment.globals["strftime_now"] = datetime.datetime(2026, 1, 15, 13, 5).strftime
    return environment


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _render(self, context, caller):
        return caller()


def random_expression(rng, depth=3):
    atoms = ["n", "x", "neg", "yes", "nothing", "missing", "word", "name", "numbers", "words", "d", "mixed", "1", "0", "'a'", "''",
             "[]", "{}", "'Hello'", "2.5", "nested.x.y", "messages", "csv", "people", "text", "(1, 'b')"]
    if depth == 0:
        return rng.choice(atoms)
    inner = lambda: random_expression(rng, depth - 1)
    filters = ["length", "trim", "upper", "string", "list", "first", "last", "join(',')", "tojson", "default('q')", "reverse", "sort", "int",
               "float", "unique|list", "map('string')|list", "select|list", "replace('l','L')", "items|list", "abs", "round", "indent(1)", "title",
               "capitalize", "lower", "sum", "min", "max", "dictsort", "map(attribute='name')|list", "selectattr('role','equalto','user')|list"]
    methods = ["split()", "split(',')", "strip()", "upper()", "startswith('H')", "items()", "get('a')", "keys()|list", "lstrip('H')", "find('l')"]
    tests = ["string", "mapping", "sequence", "iterable", "number", "defined", "none", "odd", "true", "integer", "in numbers", "boolean"]
    kind = rng.randrange(11)
    if kind < 3:
        return f"({inner()}) | {rng.choice(filters)}"
    if kind == 3:
        return f"({inner()}).{rng.choice(methods)}"
    if kind == 4:
        return f"({inner()}) is {rng.choice(tests)}"
    if kind == 5:
        return f"({inner()})[{rng.choice(['0', '-1', '1:', '::-1', ':2', '5', repr('a')])}]"
    if kind == 6:
        return f"{inner()} if {inner()} else {inner()}"
    if kind == 7:
        return f"[{inner()}, {inner()}]"
    if kind == 8:
        return f"{{'k': {inner()}}}"
    operator = rng.choice(["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "and", "or", "in", "not in", "~"])
    return f"({inner()}) {operator} ({inner()})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "src/tokenizer/jinja/testdata/snippets.json")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    expressions = [e.strip() for line in EXPRESSIONS for e in line.split(";;")]
    expressions += [random_expression(rng) for _ in range(options.random)]
    environment = make_environment()
    cases = []
    for source in ["{{ %s }}" % e for e in expressions] + TEMPLATES:
        case = {"template": source}
        try:
            case["output"] = environment.from_string(source).render(json.loads(json.dumps(CONTEXT)))
        except Exception as failure:
            case["error"] = f"{type(failure).__name__}: {failure}"
        if not any(text in case.get("output", "") for text in UNPORTABLE):
            cases.append(case)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    options.out.write_text('{"context": %s,\n"cases": [\n%s\n]}\n' % (json.dumps(CONTEXT, ensure_ascii=False), lines))
    print(f"{options.out}: {len(cases)} cases, {sum('error' in c for c in cases)} of them errors")


if __name__ == "__main__":
    main()
