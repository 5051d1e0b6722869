"""What templates are made of: words, references, paths and examples.

No rule is here, so a word is added without reading one. No example is here as text: a scanner would report it.
"""

from __future__ import annotations

from typing import Final

from robodj_secretguard.secret.material import PHRASES, listed_words

STRONG: Final = 2
"""How telling a word is that only templates have."""

REFERENCES: Final = tuple(
    (
        "op://|vault:|ref+|arn:aws:secretsmanager:|arn:aws:ssm:|projects/|@Microsoft.KeyVault(|env:|file:|"
        "secretKeyRef|valueFrom|ENC[|ENC(|{cipher}|!vault|!secret|$ANSIBLE_VAULT|keyring:|doppler:|infisical:|bws:|"
        "sm://|awssm://|gcpsm://|azkv:|azurekeyvault:|keyvault:|ssm:|conjur:|akeyless:|lpass:|bitwarden:|secret://|"
        "vault kv |vault read |op read |aws secretsmanager |aws ssm |gcloud secrets |kubectl get secret|process.env|"
        "os.environ|os.getenv|getenv(|System.getenv|ENV[|ENV.|import.meta.env|!Ref |!Sub |!ENV |gcp:secretmanager:|"
        "awskms:|aws-sm:|gcp-sm:|akv:|bw://|ref:|openssl rand |python -c |python3 -c |node -e |head -c |pwgen |"
        "awssm(|berglas://|chamber://|hcp://|keychain:|ksm://|sops:"
    ).split("|")
)
"""How a reference to a secret that is somewhere else begins."""
ROOTS: Final = tuple(
    f"/{each}/" for each in "run var etc home opt mnt usr tmp srv root app data secrets Users proc config".split()
)
ENDINGS: Final = tuple(f".{each}" for each in "pem key json txt crt cer p12 pfx env yaml yml".split())

STEMS: Final = tuple(
    """
    _ключ _токен αλλάξ εδώ κλειδ κωδικ будь-як ваша ваше ваши введ
    встав замени замін згенер здесь змін измен ключ ключ_
    любая мінімум пароль приклад пример рядок сгенерир
    секрет символ случайн смени строка сюда твій токен
    токен_ הכנס מפתח סיסמ أدخل السر المرور المفتاح
    تصادفی توکن رشته رمز ضع ضع_ كلمة مفتاح هنا کاراکتر
    کلید कुंजी पासवर्ड यहाँ ของคุณ คีย์ รหัส เปลี่ยน ใส่
    あなた ください ここ キー サンプル パスワード 你的 修改 入力 占位 填入 填写 変更 密码 密碼
    密钥 平台 您的 更换 更改 替换 此处 测试 示例 秘密 秘钥 置き換え 請 變更 请 輸入 输入 这里
    金鑰 교체 당신 변경 비밀번호 비밀키 시크릿 여기 예시 입력
    """.split()
)
"""Parts of words of other scripts, whose words are not always separate: templates have them, and no generator does."""
WORTH: Final = {
    **dict.fromkeys(
        [
            *listed_words(),
            *"""
    a ab abcd abcdef acak activemq ad adatbazis add admin agent ai aici airflow akia aleatoire aleatoria aleatorie
    aleatorio algolia all also am amazon an anda ant anthropic any api aplikace app apps appwrite arangodb are arn
    artifactory as asana asdfgh aspon assistant at ate atlas atlassian authentik auto avec aws az azerty azure b
    baidu ban banco bang bao bar bardzo baru base basis baz baza be bedrock beheerder benutzen bigquery binance bit
    bitbucket bitte bookstack boost bot bota botfather box braintree brevo broker browserbase bus but by byt ca cai
    can captcha cas cassandra casuale cdn celery cert cette chatwoot che checked cheia cho chuoi ci ciag circleci
    claude clerk cli clickhouse client cloud cloudflare cloudinary cms cname cockroach code cohere coinbase cole com
    coming comme como con connection connectionstring consumer contentful copy correo couchbase criptografar crm cs
    csrf cu cua cualquier customer dados dai dall dannyh dans danych das data databas database databaze datadog date
    datenbank day db de debe deepl deepseek dei del dem dengan der deres des desde detected deve devops dgraph did
    digitalocean din directus discord discourse disini dit div dkim dla dlhy dlugosci dns do docusign doi doit
    donnees donot dop dos dovecot dropbox drupal du dugacak dumneavoastra dung duo e e2e ecr een egy ein eine eks
    ekte el elastic elasticsearch emqx en endpoint entra eros es essere esta este esto etc etre etsy ett eu euer eur
    eure face facebook far fastly fcm fernet figma firebase firefly flutterwave for forgejo foursquare fqdn
    freescout ftp fuer gcp gcs gebruiken geheim gelecek gemini generar generare generer genereren generieren gerar
    get gh gho ghp ghs git gitea gitlab gizli gli glpat gmail go goog google gpg gpt grafana groq gsk guclu gunakan
    hanem har haraka harbor hasta hasura hcaptcha hemligt hemmelig her heroku het hf hier homeassistant hooks hub
    hubspot hugging huggingface hunter i iam ibm icin id idp ignore ikke imap immich in influx ini instagram int
    inte internal into io ip ird is isa isan it its itt itu jaeger jakis jangan jellyfin jenkins jika jira jks job
    jon joomla just kafka kakao karakter kayta keepit kendi keycloak keystore khoa khong kimai klaviyo kluch klyuch
    kms kulcsod kulcsodat kullanin ky la lang langchain lange langer langfuse langsmith larga largo las lastfm
    launchdarkly ldap le les less let like line linear linkedin listmonk litellm ll llm lm log loki long longa longo
    los losowy lungo lyft ma mac magento mail mailchimp mailgun mailjet mailtrap mailu main mais map mapbox maps
    mastodon mat mattermost mau mautic max mcp me mealie med meilisearch mein meme memgraph mes mesma met meta
    metabase meu mfa microsoft mig mij min mindestens minha minimal minimum minio miniosecret minun mis misma mismo
    mistral mit mixpanel ml mnie moet moi molto mon moodle more mosquitto motherduck mqtt msg muss must muy my myapi
    myapp mydb mykey mytoken nahodny najmniej name nao nasa nasumican ne nejaky neki nem neni net netbox netlify
    neue neues new newrelic nexmo nextcloud nexus ngau ngrok nhien nicht nie niet nieuw nieuwe niz no nocodb nodered
    not nota notion nou nouveau nouvelle nova nove novo novyi now nowe nowy npm ntn nueva nuevo nuova nuovo nur
    nvidia ny nytt obbligatorio obligatoire obligatorio obrigatorio och oder odoo of off og ohne ok okta old ollama
    olustur on one onesignal only opcional openai openassistant openrouter opensearch openweather openweathermap
    optional optionala or ordinarily org otp our out outgoing ovdje ovo own owncloud pagerduty pakai pandadoc
    panjang paperless par para parol pas path pay paypal paystack pela pelo pentru per perplexity pflicht pg
    photoprism pinecone plaid platform platforms plausible pls plugin pocketbase por portainer postal postfix
    posthog postmark pour precious prestashop pro productie production produkcji produksi produktion proj project
    prometheus provider pub publishable pulsar pulumi pusher put puternica pypi qa qdrant qualquer quando que questa
    questo qwertz rabbit railway rainloop rastgele razorpay rds re read really recaptcha reddit redmine redpanda ref
    region registry replicate repo resend restricted retazec retezec rethinkdb rk rocketchat role rollbar roundcube
    rpc rsa run runtime rzp sa safe salesforce san sans satunnainen say sdk se seaweedfs securise securisee seeding
    seen segment segura seguro sehr sein sem sendgrid sendinblue sentry senza ser serpapi server serveur service
    services servidor set seu seus sg shopify should sicher sicura sid sig signup silne sin sinun slack slug slump
    sms smtp snappymail snipeit snowflake sns so some sonar sonarqube soon specific spotify sql sqs square ssh ssl
    sso st stability stark starkt sterk sterke sterkt stmp storage stored strapi stringa stripe strong style su sua
    suas sub supabase superset superuser sur surrealdb sus swoj swoje synapse t ta tahan tai tavily teams tekst
    telegraf telegram tempo tenant terraform testen testo texte texto tha than that thay the this thisisa tietokanta
    tiktok til tilfeldig till timescale tls to tobe together tokena too traefik tres tu turnstile tus tutaj tvoja
    tvoy twilio twitch twitter two txt tylko typeform typesense ui uj um uma un una und une unleash unsplash untuk
    up upstash ur urn usar usare use user uso usr ut utiliser uuid uusi uw uzun v vahva val valeur vao vapid vash
    vasha vault vaultwarden veilig veletlen velmi vendor vercel veritabani vertex very vi via voce voi voor voyage
    vpn wandb weak weather weaviate web who whsec wie wikijs will willekeurig wp www x xai xapp xkeysib xml xoxa
    xoxb xoxp xuat xyz ya ya29 yandex yang yeni yes yet yml yo you youtube yugabyte yyy zammad zde zeer zeichen
    zendesk zigbee zijn znak znaki znakov znakow zoho zonder zoom zufaellig zufaellige zufallig zum zzz
            """.split(),
        ],
        0,
    ),
    **dict.fromkeys(
        """
    abc above access account acme adgangskode admin akey anahtar anon apikey arandom ask auth authtoken avain batman
    bearer bitwarden blank bogus cadena camelcase certificate changed characters chars chave chiave cipher clave cle
    client code commit contact contrasena contrasenya cookie cred credential credentials creds crypt dashboard
    dbpass dbuser defined demo demopass dev devel development disabled domain dsn email empty encryption env filled
    fizzbuzz foo foobar geheim geheimer geheimnis generated geslo get gizli guest hash haslo hello hemlig hemliga
    hemlighet heslo hex hidden himitsu ignore iloveyou jelszo jwt katasandi kennwort key keyboardcat keyid keys khau
    khoa klic kljuc kluc klucz kode kodeord kulcs kunci laravel lastpass leave letmein license lipsum local login
    lorem losenord lozinka lozinke managed master matkhau mima missing miyao modified mot motdepasse needed nogle
    nokkel nonce none noop nosecret nothing notsecret nottelling null nyckel obtain onepassword openssl optional
    owner parola parole parool pasahitza pass passcode passe passord passphrase passwd password passwords passwort
    pat pem pepper phrase pin pk princess private provided psw pwd qwerty rahasia random refresh removed robodj root
    rotate salaisuus salasana salt sandi schluessel schlussel secret secreta secretkey secrets see segredo segreta
    sekret senha session shared sifra sifre sifreniz sifresi sign signature signing sk sleutel smtp sosecret
    starwars stored string studio sunshine super superman supersecret supply tajna tajne tajni tajny temp temporary
    test tester testing tests text titok tmp token tokens toor topsecret trustno tua tuo uid unsafe unset unused
    update uri url used user userid username valor value variable vault verysecret wachtwoord webhook welcome wert
    whatever ключ пароль секрет токен キー パスワード 令牌 密码 密钥 秘密 비밀번호
            """.split(),
        1,
    ),
    **dict.fromkeys(
        [
            *PHRASES,
            *"""
    actual aendern aendr alterar altere andern andra aqui asdf austauschen autogenerated beispiel buraya byt bytt
    cafebabe cambia cambiame cambiar cambiare cambie censored change changed changeit changeme changer changethis
    changez coloque comingsoon contoh csereld cserelje deadbeef degistir degistirin degistiriniz dein deine deinen
    ditt dummy einfuegen einfugen eintragen ejemplo eksempel endre enter entrez ersatt ersetze ersetzen erstat
    esempio esimerkki example exempel exemple exemplo exemplu fake fill fixme ganti gantikan generate generateme
    girin goeshere gohere hackme hardtoguess here hier ici ihr ihre indsaet ingresa ingrese injected inlocuieste
    insecure inserer inserez inserisci insert insira introduceti invalid invullen isi izmenite jouw keepitsafe
    korvaa masked masukkan mettez mock modifier modifiez mudar mude mypassword mysecret nahrad nhap nope obfuscated
    omitted ornek own paste pelda placeholder platzhalter podaj priklad ide promijeni promijenite provide przyklad put
    puthere real redacted reemplaza reemplazar remplacer remplacez replace replaced replaceme required sample
    sanitized schimba secrethere set shhh snip sostituisci specify stub sua substitua substituir syota tbd thaydoi
    todo trocar troque tu tuclave tupropia tvoj twoj twoje ubah undefined vaihda valtoztasd valtoztass vase verander
    veranderen vervang vervangen vidu vloz voastra voer voorbeeld votre vstavte vuestra vul vvedite whatever wijzig
    wijzigen wpisz wstaw xyour your youraccount yourkey yourpassword yours yoursecret yourtoken youwillneverguess
    zameni zamenite zmen zmenit zmente zmien zmienic
    ваш тут твій здесь ここ 你的 你的密码 你的密钥 您的 您的密码 您的密钥 请修改 请替换
            """.split(),
        ],
        STRONG,
    ),
}
"""Listed words, and how telling each is: 2 for one that only templates have."""

EXAMPLES: Final = frozenset(
    """
    01f64466a8b3e86f 0546dfdf7f054cd2 0d6580cc269cb8be 16a1ed59066e6ce1 188887d297766300 19fa26c82bdcc541
    1c84746fcb793603 22453c18537209fc 29046caa9f097042 398a836468919cb5 42a99a297bc46687 44abb3ae90f29254
    47b00e6f81783cda 47c25be74eea6819 491a2dada905c9ac 57ee4f4b9884f630 595eb577ef33023b 59c73184681a3e41
    6384ecbed5ff26b8 64b7a1c08ac16a8b 741ed10cc765017c 7630a5bba0491dca 797efb586569f544 8119c76033e52a79
    8125c516de25444c 821a23471ececfe1 8574cec0bc28fae1 85df6a0a458d69ce 86b8f56c924cf2e4 90bf6cb1058856db
    97ce4ce6b9406644 97f6e43b4314a5aa 98d7bb34a73acf9d 9d58f2386bc5e2d9 a1ef69fbdc059583 a2ed67e02b8ce045
    a3e7b0a287080b1e af6b5734ed866a85 b1dba8e85ee052b5 bc2b96d967bbb746 bcf573804dcbd43e bec7da02be091c9c
    bf8bfbf6c62533dc c2945bcd936cf1d3 c87e7d0454b975d9 cd5b49fcc80a6e3d d1881361e7a24f2b d51f3960d4d38442
    df912a6347ee21a0 ea8ebb3373f9b718 f1750096e6e1f0da f8c661bbd238e78b fc9f94683b968d58 fcbbe885eff0f466
    """.split()
)
"""Digests of examples in the documentation of vendors and projects. No key is here as text."""

NOUNS: Final = frozenset(
    """
    admin auth credential credentials demo dev example key keys local pass passphrase passwd password passwort pin
    pw pwd root salt sample secret secrets test token user
    """.split()
)
"""What a variable says that its value is: a template often has it at its beginning or end."""

ORDINARY: Final = frozenset(("change", "example", "replace", "sample", "undefined"))
"""Strong words that passphrases have too. In a template with unlisted words, they stand at the beginning or end."""

ERRORS: Final = (
    r"permission denied|not found|no such (file|key|secret)|access denied|unauthori[sz]ed|does not exist"
    r"|(can ?not|could not|unable to|failed to) (access|connect|fetch|find|get|load|open|read|retrieve)\b"
    r"|is not (set|defined|configured)|connection refused|timed out|^error:"
)
"""A part of the text of an error, which a command wrote in place of the value."""

PAIRS: Final = frozenset(
    row[0] + second
    for row in """
    abcdgilmnprstuvy baeilou caehiklortu daeiou eacdefgilmnprstvx faeio gaeiru haeio iabcdefglmnoprstvz ke
    ladeilostuy maeiop nacdegiost ocdgklmnoprstuvw paeiloprtu qu radeimosty sacehiopstu taehiorstuy uabceilmnprst
    vaei waio yp
    """.split()
    for second in row[1:]
)
"""Letters that are often neighbours in European languages: nine of ten pairs in a word, one of four in random text."""

COMMON: Final = frozenset(
    """
    1q2w3e4r 1q2w3e4r5t 1qaz2wsx abc123 abcd1234 asdf1234 correcthorsebatterystaple hunter2 iloveyou passw0rd q1w2e3r4
    qazwsx qazwsxedc trustno1 zaq12wsx zaq1zaq1
    """.split()
)
"""Common passwords that are neither words nor rows of a keyboard."""

VENDORS: Final = frozenset(
    """
    1234 12345 123456 admin administrator bitnami calvin couchbase couchdb default elastic foobared guest influxdb
    mailhog mariadb minio minioadmin mongo mongodb mqtt my-secret-pw mysql nats neo4j opensearch oracle pg postgis
    postgres postgresql pwd rabbitmq redis root rootroot sa smtp solr toor zabbix
    """.split()
)
"""Passwords of servers and their images where nobody has set another one."""
